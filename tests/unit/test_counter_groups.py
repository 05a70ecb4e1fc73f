"""The ready-made groups of counters, and forwarding that is left to the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from do_dcgm_exporter.config.counter_files import GROUP_NAMES, group_files
from do_dcgm_exporter.config.counters import Verdict, parse_counters, read_counter_set
from do_dcgm_exporter.config.load import load_settings
from do_dcgm_exporter.config.settings import Settings

SHIPPED = Path(__file__).resolve().parents[2] / "etc" / "do-dcgm-exporter"


def load(tmp_path: Path, config: str, *argv: str, vendor: str | None = None) -> Settings:
    (tmp_path / "do-dcgm-exporter.conf").write_text(config)
    if vendor is not None:
        (tmp_path / "sys_vendor").write_text(vendor)
    return load_settings(argv, {}, tmp_path, tmp_path)


@pytest.mark.parametrize("name", GROUP_NAMES)
def test_a_group_has_good_lines_that_the_default_has_not(name: str) -> None:
    judged = read_counter_set(SHIPPED / "default-counters.csv", group_files([name]))
    default = parse_counters((SHIPPED / "default-counters.csv").read_bytes(), Path("x"))
    assert {judgement.verdict for judgement in judged.judgements} == {Verdict.OK}
    assert len(judged.counters) > len(default.counters)


def test_groups_come_after_the_users_counters(tmp_path: Path) -> None:
    settings = load(tmp_path, "collectors = /x.csv\ncounter-groups = [ecc, power, ecc]\n")
    assert settings.collectors == (Path("/x.csv"), *group_files(["ecc", "power"]))


def test_no_group_can_be_said(tmp_path: Path) -> None:
    assert load(tmp_path, "counter-groups = none\n").collectors == ()


@pytest.mark.parametrize(
    ("vendor", "config", "argv", "forwards"),
    [
        ("DigitalOcean\n", "", [], True),
        ("DigitalOcean\n", "forward = auto", [], True),
        ("DigitalOcean\n", "forward = no", [], False),
        ("QEMU\n", "", [], False),
        (None, "", [], False),
        (None, "forward = yes", [], True),
        (None, "forward = yes", ["--forward-auto"], False),
        (None, "forward = no", ["--forward"], True),
        (None, "forward-url = http://collector.example/", [], True),
    ],
)
def test_forwarding_is_left_to_the_machine_unless_said(
    tmp_path: Path, vendor: str | None, config: str, argv: list[str], forwards: bool
) -> None:
    assert load(tmp_path, config, *argv, vendor=vendor).forward is forwards
