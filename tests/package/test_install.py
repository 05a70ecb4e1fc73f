"""Installing: nothing is asked, and metrics flow."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.package.machine import root_over, switched_on
from tests.package.system import CONF, EXPORTER, NAME, System, setting

MACHINE = "0123456789abcdef0123456789abcdef"
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


# As cloud-init does: while the system boots, which waits for it.
CLOUD_INIT = """\
[Service]
Type=oneshot
Environment=DEBIAN_FRONTEND=noninteractive
ExecStart=debconf-set-selections /opt/answers
ExecStart=dpkg --install --force-confold /opt/exporter.deb
"""
ANSWERS = """\
do-dcgm-exporter do-dcgm-exporter/address string :9500
do-dcgm-exporter do-dcgm-exporter/forward select no
do-dcgm-exporter do-dcgm-exporter/engine select nvidia
do-dcgm-exporter do-dcgm-exporter/counter-groups multiselect clocks, power
"""


@pytest.fixture
def installed_at_boot(with_dcgm: list[Path], exporter: Path) -> Iterator[System]:
    """A system on which the exporter was installed, with answers, while it booted."""
    with root_over(with_dcgm) as root:
        units = root.path / "etc/systemd/system"
        (units / "cloud-init.service").write_text(CLOUD_INIT)
        (units / "multi-user.target.wants/cloud-init.service").symlink_to("../cloud-init.service")
        (root.path / "opt/answers").write_text(ANSWERS)
        (root.path / "opt/exporter.deb").write_bytes(exporter.read_bytes())
        with switched_on(root) as machine:
            yield System(machine)


def test_answers_given_beforehand_are_obeyed_while_the_system_boots(
    installed_at_boot: System,
) -> None:
    system = installed_at_boot
    assert system.property("cloud-init.service", "Result") == "success"
    assert system.has_full_metrics(9500)
    assert "DCGM_FI_DEV_POWER_MGMT_LIMIT_MAX{" in system.page(9500)
    conf = system.configuration
    assert [setting(conf, key) for key in ("address", "forward", "counter-groups")] == [
        [":9500"],
        ["no"],
        ["[clocks, power]"],
    ]
    assert system.systemctl("--failed", "--plain", "--no-legend") == ""


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
    with root_over(with_dcgm) as root:
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
        (root.path / "etc/machine-id").write_text(f"{MACHINE}\n")
        (root.path / "tmp" / exporter.name).write_bytes(exporter.read_bytes())
        said = root.run("dpkg", "--install", f"/tmp/{exporter.name}")
        assert said.stderr == ""
        assert setting((root.path / CONF.lstrip("/")).read_text(), "engine") == ["nvidia"]
        # What is installed into an image must fit every machine that is made of it.
        written = [path for path in root.written.rglob("*") if path.is_file()]
        tied = [path.name for path in written if MACHINE.encode() in path.read_bytes()]
        assert tied == ["machine-id"]
        assert not (root.path / "var/lib/do-dcgm-exporter").exists()
        root.run("dpkg", "--purge", "do-dcgm-exporter")


def test_a_taken_port_is_no_reason_to_fail(new_system: System, exporter: Path) -> None:
    new_system.run("systemd-run", "--unit=holder", "python3", "-m", "http.server", "9401")
    new_system.becomes(lambda: bool(new_system.page()))
    new_system.install(exporter)

    assert new_system.becomes(
        lambda: "port 9401 is taken by python3 (pid " in new_system.journal(EXPORTER)
    )
    new_system.systemctl("stop", "holder")
    assert new_system.has_full_metrics()
