"""After a boot the machine is looked at, behind everybody's back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.package.exporters import engine_of, integrate, put_enabled_exporter
from tests.package.machine import root_over, switched_on
from tests.package.system import EXPORTER, System
from tests.package.test_removal import listing

SERVICE = "do-dcgm-exporter-integrate.service"
ENGINE = "localhost:5555"
FAMILY = "do_dcgm_exporter_embedded_dcgm_processes"
SOON = "[Timer]\nOnBootSec=\nOnBootSec=5s\nAccuracySec=1s\n"
NEVER = "[Timer]\nOnBootSec=\nOnBootSec=1d\n"
AT_ONCE = "[Timer]\nOnActiveSec=\nOnActiveSec=1s\nAccuracySec=1s\n"


@contextmanager
def booted_with_an_exporter(layers: list[Path], **timers: str) -> Iterator[System]:
    """Boot a machine that an exporter was copied onto while it was off."""
    with root_over(layers) as root:
        put_enabled_exporter(root.path)
        for name, text in timers.items():
            drop_in = root.path / f"etc/systemd/system/do-dcgm-exporter-{name}.timer.d/test.conf"
            drop_in.parent.mkdir(parents=True)
            drop_in.write_text(text)
        with switched_on(root) as machine:
            yield System(machine)


@pytest.fixture
def rebooted(with_exporter: list[Path]) -> Iterator[System]:
    """A machine that is looked at some seconds after its boot."""
    with booted_with_an_exporter(with_exporter, integrate=SOON, embedded=AT_ONCE) as system:
        yield system


def test_an_exporter_that_was_copied_is_connected_after_boot(rebooted: System) -> None:
    system = rebooted
    assert system.becomes(lambda: engine_of(system, 9400) == ENGINE), system.journal(SERVICE)
    assert system.becomes(lambda: not system.is_active(SERVICE))

    # No target waits for it; it waits for the target.
    wanted = system.run("systemctl", "list-dependencies", "--plain", "multi-user.target").stdout
    assert "do-dcgm-exporter.service" in wanted
    assert SERVICE not in wanted
    chain = system.run("systemd-analyze", "critical-chain", "multi-user.target").stdout
    assert "integrate" not in chain
    reached = int(system.property("multi-user.target", "ActiveEnterTimestampMonotonic"))
    begun = int(system.property(SERVICE, "ExecMainStartTimestampMonotonic"))
    assert 0 < reached < begun
    assert system.systemctl("--failed", "--plain", "--no-legend") == ""

    # Who keeps /etc in git sees one change by us, and none at the boots that follow.
    etc = stamped(system.root / "etc")
    with booted_again(system) as again:
        assert again.becomes(lambda: begun_and_ended(again))
        assert again.becomes(lambda: engine_of(again, 9400) == ENGINE)
        assert stamped(again.root / "etc") == etc


@contextmanager
def booted_again(system: System) -> Iterator[System]:
    """Shut a machine down and boot it once more."""
    system.machine.shut_down()
    with switched_on(system.machine.root) as machine:
        yield System(machine)


def begun_and_ended(system: System) -> bool:
    """Whether the machine was looked at since its boot."""
    begun = system.property(SERVICE, "ExecMainStartTimestampMonotonic")
    return begun != "0" and not system.is_active(SERVICE)


def stamped(root: Path) -> dict[str, tuple[str, int]]:
    """Return what is under a directory, with when it was written."""
    return {path: (what, (root / path).lstat().st_mtime_ns) for path, what in listing(root).items()}


def test_what_has_an_engine_of_its_own_is_counted_on_the_page(with_exporter: list[Path]) -> None:
    with booted_with_an_exporter(with_exporter, integrate=NEVER, embedded=AT_ONCE) as system:
        # Counted before the exporter's second cycle, which is 20 s after its first.
        assert system.becomes(lambda: f"{FAMILY} 1\n" in system.page())
        assert "copied.service" in system.journal(EXPORTER)

        assert integrate(system, "apply").returncode == 0
        assert system.becomes(lambda: f"{FAMILY} 0\n" in system.page())


def test_looking_costs_little(rebooted: System) -> None:
    """Starting the program is most of what a run costs with nothing to do; none is refused."""
    system = rebooted
    assert system.becomes(lambda: engine_of(system, 9400) == ENGINE)
    system.becomes(lambda: not system.is_active(SERVICE))
    looking, starting = [], []
    # More often than systemd lets a unit start in ten seconds, unless told otherwise; and a busy
    # machine only ever adds to what a run costs.
    for number in range(8):
        system.run("systemctl", "start", SERVICE)
        looking.append(int(system.property(SERVICE, "CPUUsageNSec")))
        started = f"start-{number}.service"
        system.run("systemd-run", f"--unit={started}", "--property=Type=oneshot",
                   "--remain-after-exit", "do-dcgm-exporter-integrate", "--help")  # fmt: skip
        starting.append(int(system.property(started, "CPUUsageNSec")))
    assert min(looking) < 8 * min(starting), (looking, starting)
