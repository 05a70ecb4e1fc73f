"""Installing: nothing is asked, and metrics flow."""

from __future__ import annotations

import stat
from pathlib import Path

from tests.package.machine import Root
from tests.package.system import CONF, EXPORTER, NAME, System, setting

WHERE = (
    "do-dcgm-exporter: metrics are at http://localhost:9401/metrics;"
    " to check everything: do-dcgm-exporter-integrate check"
)


def test_a_fresh_installation_asks_nothing_and_serves_everything(
    new_system: System, exporter: Path
) -> None:
    said = new_system.install(exporter).stderr.splitlines()

    ours = [line for line in said if line.startswith("do-dcgm-exporter")]
    assert ours == [WHERE]
    assert new_system.is_active(EXPORTER)
    assert new_system.has_full_metrics()
    assert new_system.engines() == [NAME]
    assert new_system.systemctl("is-enabled", EXPORTER) == "enabled"
    assert setting(new_system.configuration, "engine") == ["nvidia"]
    mode = (new_system.root / CONF.lstrip("/")).stat().st_mode
    assert stat.S_IMODE(mode) == 0o644
    asked = new_system.run("debconf-show", "do-dcgm-exporter").stdout
    assert "* do-dcgm-exporter/" not in asked  # the sign for "was seen"
    assert new_system.systemctl("--failed", "--plain", "--no-legend") == ""


def test_answers_given_beforehand_are_obeyed(new_system: System, exporter: Path) -> None:
    new_system.preseed(
        address=":9500", forward="no", engine="nvidia", counter_groups="clocks, power"
    )
    new_system.install(exporter)

    assert new_system.has_full_metrics(9500)
    assert "DCGM_FI_DEV_POWER_MGMT_LIMIT_MAX{" in new_system.page(9500)
    conf = new_system.configuration
    assert [setting(conf, key) for key in ("address", "forward", "counter-groups")] == [
        [":9500"],
        ["no"],
        ["[clocks, power]"],
    ]


def test_an_answer_that_cannot_be_is_replaced_by_the_default(
    new_system: System, exporter: Path
) -> None:
    new_system.preseed(address="nonsense:99999")
    said = new_system.install(exporter).stderr

    assert '"99999" is not a port; using the default' in said
    assert new_system.has_full_metrics()


def test_without_any_systemd_the_installation_succeeds(
    with_dcgm: list[Path], exporter: Path
) -> None:
    root = Root(with_dcgm)
    try:
        root.run(
            "dpkg",
            "--purge",
            "--force-depends",
            "--force-remove-protected",
            "systemd-sysv",
            "systemd",
            "dbus",
        )
        assert not (root.path / "usr/bin/systemctl").exists()
        (root.path / "tmp" / exporter.name).write_bytes(exporter.read_bytes())
        root.run("dpkg", "--install", f"/tmp/{exporter.name}")
        assert setting((root.path / CONF.lstrip("/")).read_text(), "engine") == ["nvidia"]
        root.run("dpkg", "--purge", "do-dcgm-exporter")
    finally:
        root.close()


def test_a_taken_port_is_no_reason_to_fail(new_system: System, exporter: Path) -> None:
    new_system.run("systemd-run", "--unit=holder", "python3", "-m", "http.server", "9401")
    new_system.becomes(lambda: bool(new_system.page()), 10.0)
    new_system.install(exporter)

    assert new_system.becomes(
        lambda: "port 9401 is taken by python3 (pid " in new_system.journal(EXPORTER), 20.0
    )
    new_system.systemctl("stop", "holder")
    assert new_system.has_full_metrics()
