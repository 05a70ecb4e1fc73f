"""Passwords: who is known, without telling anybody more."""

from __future__ import annotations

import base64
import sys

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from do_dcgm_exporter.errors import ConfigurationError
from do_dcgm_exporter.serve.access.passwords import Credentials, Passwords, parse_basic

ALICE = Credentials(b"alice", b"correct horse")


def hashed(password: bytes, cost: int = 4, prefix: bytes = b"2b") -> bytes:
    return bcrypt.hashpw(password, bcrypt.gensalt(cost)).replace(b"$2b$", b"$" + prefix + b"$")


def basic(text: bytes, scheme: str = "Basic") -> str:
    return f"{scheme} {base64.b64encode(text).decode()}"


@pytest.fixture
def passwords() -> Passwords:
    return Passwords({b"alice": hashed(b"correct horse"), b"bob": hashed(b"staple", 5)})


class TestTheHeader:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (basic(b"alice:secret"), Credentials(b"alice", b"secret")),
            (basic(b"alice:a:b:"), Credentials(b"alice", b"a:b:")),
            (basic(b":"), Credentials(b"", b"")),
            (basic("über:ß".encode()), Credentials("über".encode(), "ß".encode())),
            (basic(b"a:b", "basic"), Credentials(b"a", b"b")),
            (basic(b"a:b", "BASIC  "), Credentials(b"a", b"b")),
            ("", None),
            ("Basic", None),
            ("Basic ", None),
            (basic(b"alice"), None),
            (basic(b"a:b", "Bearer"), None),
            (basic(b"a:b") + "x", None),
            (basic(b"a:b\0c"), None),
            (basic(b"a\n:b"), None),
            ("Basic YTpi YTpi", None),
            ("Basic YTp\u00e9", None),
            (basic(b"a:" + 2000 * b"b"), None),
        ],
    )
    def test_a_name_and_a_password_or_nothing(self, value, expected):
        assert expected == parse_basic(value)

    @given(st.text() | st.text().map(lambda text: f"Basic {text}"))
    def test_any_text_is_understood_or_is_nothing(self, value):
        assert parse_basic(value) is None or isinstance(parse_basic(value), Credentials)


class TestVerifying:
    @pytest.mark.parametrize(
        ("user", "password", "expected"),
        [
            (b"alice", b"correct horse", True),
            (b"bob", b"staple", True),
            (b"alice", b"staple", False),
            (b"bob", b"correct horse", False),
            (b"alice", b"", False),
            (b"Alice", b"correct horse", False),
            (b"carol", b"correct horse", False),
            (b"", b"", False),
        ],
    )
    def test_only_the_right_password_of_the_right_user(self, passwords, user, password, expected):
        assert expected is passwords.verify(Credentials(user, password))

    @pytest.mark.parametrize("prefix", [b"2a", b"2b", b"2y"])
    def test_hashes_of_all_tools_are_alike(self, prefix):
        assert Passwords({b"alice": hashed(b"correct horse", prefix=prefix)}).verify(ALICE)

    def test_of_a_long_password_the_first_72_bytes_count_as_everywhere(self):
        passwords = Passwords({b"alice": hashed(72 * b"x")})

        assert passwords.verify(Credentials(b"alice", 72 * b"x"))
        assert passwords.verify(Credentials(b"alice", 100 * b"x"))
        assert not passwords.verify(Credentials(b"alice", 71 * b"x"))

    def test_a_user_who_is_not_there_costs_what_one_who_is_costs(self, passwords, monkeypatch):
        costs = []
        check = bcrypt.checkpw
        monkeypatch.setattr(
            bcrypt, "checkpw", lambda *given: (costs.append(given[1][:7]), check(*given))[1]
        )
        for number in range(40):
            stranger = Credentials(b"stranger %d" % number, b"correct horse")
            assert not passwords.verify(stranger)
            assert not passwords.verify(stranger)

        assert {b"$2b$04$", b"$2b$05$"} == set(costs)
        # The same each time: a cost that changes would give a stranger away.
        assert costs[::2] == costs[1::2]


class TestRemembering:
    def test_what_was_verified_costs_nothing_more(self, passwords):
        digest = passwords.digest(ALICE)
        assert not passwords.remembers(ALICE, digest)
        passwords.remember(ALICE, digest)

        assert passwords.remembers(ALICE, passwords.digest(ALICE))

    @pytest.mark.parametrize(
        "other",
        [Credentials(b"alice", b"correct hors"), Credentials(b"bob", b"correct horse")],
    )
    def test_nothing_else_is_remembered(self, passwords, other):
        passwords.remember(ALICE, passwords.digest(ALICE))

        assert not passwords.remembers(other, passwords.digest(other))

    def test_a_digest_is_worth_nothing_in_another_process(self, passwords):
        assert passwords.digest(ALICE) != Passwords(passwords.hashes).digest(ALICE)

    def test_no_password_is_kept(self, passwords):
        passwords.remember(ALICE, passwords.digest(ALICE))

        assert ALICE.password not in repr(vars(passwords)).encode()


def test_without_the_library_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "bcrypt", None)

    with pytest.raises(ConfigurationError, match="python3-bcrypt"):
        Passwords({b"alice": hashed(b"x")})
