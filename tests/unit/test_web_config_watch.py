"""The web configuration's files: what is noticed, when it is read, and what is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.certificates import Authority, Pair

from do_dcgm_exporter.errors import ConfigurationError
from do_dcgm_exporter.serve.access.security import Security
from do_dcgm_exporter.serve.access.watch import WebConfigWatch

HASH = "$2b$04$YkSU0tzs0/.8VtifbikIt.dSNI1MQZtq4641zZq2p4MoTjDEbwL46"
TLS = "tls_server_config: {cert_file: server.pem, key_file: server.key}\n"
USER = f"basic_auth_users: {{alice: {HASH}}}\n"


class Desk:
    """A watch that looks when it is told to, and what it has said."""

    def __init__(self, directory: Path, pair: Pair) -> None:
        self.path = directory / "web.yml"
        self.directory = directory
        self.replace("server.pem", pair.certificate.read_bytes())
        self.replace("server.key", pair.key.read_bytes())
        self.path.write_text(TLS)
        self.taken: list[Security] = []
        self.told: list[str] = []
        self.watch = WebConfigWatch(self.path)
        self.watch._take, self.watch._tell = self.taken.append, self.told.append

    def replace(self, name: str, content: bytes) -> None:
        (self.directory / f"{name}.new").write_bytes(content)
        (self.directory / f"{name}.new").rename(self.directory / name)

    def look(self, times: int = 1) -> int:
        """How many configurations were taken by so many looks."""
        before = len(self.taken)
        for _ in range(times):
            self.watch.tick()
        return len(self.taken) - before


@pytest.fixture(scope="module")
def pairs(authority: Authority) -> list[Pair]:
    return [authority.server(f"watched-{number}") for number in range(2)]


@pytest.fixture
def desk(tmp_path: Path, pairs: list[Pair]) -> Desk:
    return Desk(tmp_path, pairs[0])


def test_nothing_is_read_while_nothing_changes(desk):
    assert 0 == desk.look(5)
    assert not desk.told


def test_what_is_wrong_at_first_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError):
        WebConfigWatch(tmp_path / "nowhere.yml")


def test_a_change_is_taken_once_when_it_has_settled(desk):
    desk.path.write_text(TLS + USER)
    assert 0 == desk.look()
    assert 1 == desk.look()
    assert 0 == desk.look(5)
    assert {b"alice"} == desk.taken[0].config.users.keys()


def test_a_file_that_goes_on_changing_is_not_read_yet(desk):
    for number in range(5):
        desk.path.write_text(TLS + "#" * number)
        assert 0 == desk.look()
    assert 1 == desk.look()


def test_a_certificate_is_not_read_before_its_key_has_come(desk, pairs):
    desk.replace("server.pem", pairs[1].certificate.read_bytes())
    desk.look()
    desk.replace("server.key", pairs[1].key.read_bytes())

    assert 1 == desk.look(2)
    assert not desk.taken[0].speaks_like(None)
    assert not any(desk.told)


def test_a_key_that_comes_late_is_complained_of_until_it_does(desk, pairs):
    desk.replace("server.pem", pairs[1].certificate.read_bytes())
    assert 0 == desk.look(9)
    assert 1 == len(desk.told)
    assert "does not belong to the certificate" in desk.told[0]
    desk.replace("server.key", pairs[1].key.read_bytes())

    assert 1 == desk.look(3)
    assert "" == desk.told[1]


def test_a_link_that_leads_elsewhere_is_a_change(desk, pairs):
    for name, file in (("server.pem", pairs[1].certificate), ("server.key", pairs[1].key)):
        (desk.directory / name).unlink()
        (desk.directory / name).symlink_to(file)

    assert 1 == desk.look(2)


def test_a_change_that_keeps_size_and_time_is_noticed(desk):
    before = desk.path.stat()
    desk.path.write_text(TLS.replace("TLS", "tls"))
    os.utime(desk.path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert 1 == desk.look(2)


def test_files_that_a_new_configuration_names_are_watched(desk, pairs):
    desk.path.write_text(TLS.replace("server.", "other."))
    assert 0 == desk.look(3)
    assert "other.pem: No such file" in desk.told[0]
    desk.replace("other.pem", pairs[1].certificate.read_bytes())
    desk.look(3)
    assert "other.key: No such file" in desk.told[1]
    desk.replace("other.key", pairs[1].key.read_bytes())

    assert 1 == desk.look(3)
    assert "" == desk.told[2]


def test_another_complaint_is_told_and_the_same_one_is_not(desk):
    desk.path.write_text("a: 1")
    desk.look(3)
    desk.path.write_text("a: 2")
    desk.look(3)
    assert 1 == len(desk.told)
    desk.path.write_text("b: 2")
    desk.look(3)

    assert 2 == len(desk.told)


def test_nothing_is_taken_after_it_was_stopped(desk):
    desk.path.write_text(TLS + USER)
    desk.watch.stop()

    assert 0 == desk.look(3)
