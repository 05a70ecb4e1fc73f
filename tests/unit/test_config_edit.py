"""The package's answers change their own keys and not one byte more."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from do_dcgm_exporter.config.edit import edited, main

SHIPPED = Path(__file__).resolve().parents[2] / "etc" / "do-dcgm-exporter" / "do-dcgm-exporter.conf"


@pytest.mark.parametrize(
    ("before", "answers", "after"),
    [
        ("address = :1 # mine\n", {"address": ":2"}, "address = :2 # mine\n"),
        ("  --address: ':1'\r\n", {"address": ":2"}, "  --address: :2\r\n"),
        ("address :1", {"address": ":2"}, "address ::2"),  # the first colon is ConfigArgParse's
        ("x = 1", {"address": ":2"}, "x = 1\naddress = :2\n"),
        ("#address = :9401\nx = 1\n", {"address": ":2"}, "#address = :9401\naddress = :2\nx = 1\n"),
        ("# caf\xe9\naddress = :1\n", {"address": ":2"}, "# caf\xe9\naddress = :2\n"),
        ("no-forward = true\n", {"forward": "yes"}, "forward = yes\n"),
        ("counter-groups = none\n", {"counter-groups": "[ecc]"}, "counter-groups = [ecc]\n"),
        ("", {"engine": "nvidia"}, "engine = nvidia\n"),
        ("\xef\xbb\xbfengine = nvidia\n", {"engine": "ours"}, "\xef\xbb\xbfengine = ours\n"),
    ],
)
def test_a_new_answer_is_written(before: str, answers: Mapping[str, str], after: str) -> None:
    assert edited(before.encode("latin-1"), answers) == after.encode("latin-1")


@pytest.mark.parametrize(
    ("content", "answers"),
    [
        ("address =   :1   ; mine\n", {"address": ":1"}),
        ("forward = TRUE\n", {"forward": "yes"}),
        ("no-forward = 1\n", {"forward": "no"}),
        ("counter-groups = [ecc,memory]\n", {"counter-groups": "[memory, ecc]"}),
        ("counter-groups = ecc\n", {"counter-groups": "[ecc]"}),
        ("engine = 'ours'\n", {"engine": "ours"}),
        ("x = 1", {"address": ":9401", "forward": "auto", "counter-groups": "none"}),
        ("not-address = 1\naddress-of-x = 2\n", {"address": ":9401"}),
        ("forward = AUTO\n", {"forward": "auto"}),
        ("no-forward = YES\n", {"forward": "no"}),
        # Bytes that only a text of another kind would end a line at.
        ("# для всех forward = no\nforward = no\n", {"forward": "no"}),
        ("# Å engine = ours is slow\nengine = nvidia\n", {"engine": "nvidia"}),
        ("\ufeffengine = nvidia\n", {"engine": "nvidia"}),
    ],
)
def test_what_already_holds_is_left_as_it_is(content: str, answers: Mapping[str, str]) -> None:
    assert edited(content.encode(), answers) == content.encode()


@pytest.mark.parametrize(
    ("content", "key", "answer"),
    [
        ("engine = our\n", "engine", "nvidia"),
        ("forward = maybe\n", "forward", "auto"),
        ("no-forward # never send\n", "forward", "auto"),
        ("--no-forward\n", "forward", "auto"),
        ("address = \n", "address", ":9401"),
        ("address = :99999\n", "address", ":9401"),
        ("counter-groups = [power, foo]\n", "counter-groups", "none"),
    ],
)
def test_what_the_exporter_refuses_stays_and_is_told(
    content: str, key: str, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edited(content.encode(), {key: answer}) == content.encode()
    assert f"line 1 of the configuration stays, although {key} cannot be" in capsys.readouterr().err


@given(st.binary(max_size=200), st.sampled_from([":9500", "[::1]:9401"]))
def test_a_second_time_changes_nothing(content: bytes, address: str) -> None:
    once = edited(content, {"address": address, "engine": "ours"})
    assert edited(once, {"address": address, "engine": "ours"}) == once


def test_a_file_is_made_of_the_template_and_everybody_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "x.conf"
    assert main([str(path), str(SHIPPED), "engine=ours"]) == 0
    assert path.read_text() == SHIPPED.read_text().replace(
        "#engine = nvidia\n", "#engine = nvidia\nengine = ours\n"
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_the_mode_of_the_admins_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.conf"
    path.write_text("address = :1\n")
    path.chmod(0o640)
    assert main([str(path), str(SHIPPED), "address=:2"]) == 0
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("address = :2\n", 0o640)
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("address = :1\n")
    (tmp_path / "x.conf").symlink_to("kept")
    assert main([str(tmp_path / "x.conf"), str(SHIPPED), "address=:2"]) == 0
    assert (tmp_path / "x.conf").is_symlink()
    assert (tmp_path / "kept").read_text() == "address = :2\n"


def test_a_file_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a-file").touch()
    assert main([str(tmp_path / "a-file" / "x.conf"), str(SHIPPED), "engine=ours"]) == 1
    assert f"cannot write {tmp_path}/a-file/x.conf: " in capsys.readouterr().err
