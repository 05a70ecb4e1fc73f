"""Changing one's mind, and changing what we wrote: nothing is lost."""

from __future__ import annotations

from pathlib import Path

from tests.package import exporter_kinds
from tests.package.exporters import engine_of, finished, integrate, put_one, vendor_package
from tests.package.packages import Package
from tests.package.system import CONF, System
from tests.package.test_removal import listing

ENGINE = "localhost:5555"
EXPORTERS = {9400: "nvidia-dcgm-exporter.service", 9402: "exporter-9402.service",
             9403: "exporter-9403.service"}  # fmt: skip
OURS = ("do-dcgm-exporter/", "timers.target.wants/", "paths.target.wants/",
        "multi-user.target.wants/do-dcgm-exporter.service/")  # fmt: skip
STATES = "LoadState,ActiveState,SubState,UnitFileState,Result,DropInPaths,Environment"


def put_three(system: System, workshop: Path) -> None:
    """Put NVIDIA's exporter, one more that is enabled, and one that only runs on a machine."""
    system.install(vendor_package(workshop))
    put_one(system, 9402)
    put_one(system, 9403)
    system.run("systemctl", "disable", "--quiet", EXPORTERS[9403])


def etc(system: System) -> dict[str, str]:
    """Return what is under /etc, but for what is ours alone."""
    return {
        path: what
        for path, what in listing(system.root / "etc").items()
        if not any(ours in f"{path}/" for ours in OURS)
    }


def states(system: System) -> dict[str, str]:
    """Return the state of every unit, ours left out."""
    listed = system.systemctl("list-unit-files", "--no-legend", "--type=service,target")
    others = {line for line in listed.splitlines() if not line.startswith("do-")}
    shown = {unit: system.systemctl("show", f"--property={STATES}", unit)
             for unit in EXPORTERS.values()}  # fmt: skip
    return shown | {"unit files": "\n".join(sorted(others))}


def engines(system: System) -> set[str]:
    """Return the engines that the three read, once all is done and all of them serve."""
    assert finished(system)
    system.becomes(lambda: all(engine_of(system, port) for port in EXPORTERS))
    return {engine_of(system, port) for port in EXPORTERS}


def answer(system: System, what: str) -> None:
    """Change one's mind about exporters: in the file, then make it so."""
    lines = system.configuration.splitlines()
    kept = [line for line in lines if not line.startswith("embedded-exporters")]
    system.write(CONF, "\n".join([*kept, f"embedded-exporters = {what}", ""]))
    system.reconfigure()


def test_a_full_cycle_ends_where_it_began(
    new_system: System, exporter: Path, workshop: Path
) -> None:
    put_three(new_system, workshop)
    files, units = etc(new_system), states(new_system)

    new_system.install(exporter)
    assert engines(new_system) == {ENGINE}
    answer(new_system, "leave")
    assert engines(new_system) == {"embedded"}
    assert (etc(new_system), states(new_system)) == (files, units)
    answer(new_system, "rewrite")
    assert engines(new_system) == {ENGINE}
    new_system.run("dpkg", "--remove", "do-dcgm-exporter")
    assert engines(new_system) == {"embedded"}
    assert (etc(new_system), states(new_system)) == (files, units)
    new_system.run("dpkg", "--purge", "do-dcgm-exporter")
    assert (etc(new_system), states(new_system)) == (files, units)
    assert not new_system.exists("/var/lib/do-dcgm-exporter")
    assert not new_system.exists("/run/do-dcgm-exporter-integration")


def test_stopped_exporters_come_back_on_removal(
    new_system: System, exporter: Path, workshop: Path
) -> None:
    put_three(new_system, workshop)
    files, units = etc(new_system), states(new_system)
    new_system.preseed(embedded_exporters="stop")
    new_system.install(exporter)
    assert finished(new_system)

    for unit in EXPORTERS.values():
        assert not new_system.is_active(unit)
        assert new_system.systemctl("is-enabled", unit) == "disabled"
    assert integrate(new_system, "apply").returncode == 0
    new_system.run("dpkg", "--remove", "do-dcgm-exporter")
    assert engines(new_system) == {"embedded"}
    assert (etc(new_system), states(new_system)) == (files, units)


def test_a_drop_in_that_was_edited_or_forbidden_is_the_admins(
    new_system: System, exporter: Path, workshop: Path
) -> None:
    put_three(new_system, workshop)
    new_system.install(exporter)
    assert finished(new_system)
    edited, forbidden = (
        f"{exporter_kinds.ETC}/{EXPORTERS[port]}.d/{exporter_kinds.DROP_IN}"
        for port in (9400, 9402)
    )
    mine = new_system.read(edited) + "# mine\n"
    new_system.write(edited, mine)
    new_system.run("ln", "-sf", "/dev/null", forbidden)
    new_system.run("systemctl", "daemon-reload")
    said = integrate(new_system, "apply")
    assert EXPORTERS[9400] in said.stdout + said.stderr
    assert new_system.read(edited) == mine
    assert (new_system.root / forbidden.lstrip("/")).readlink() == Path("/dev/null")
    new_system.run("systemctl", "restart", EXPORTERS[9402])
    assert new_system.becomes(lambda: engine_of(new_system, 9402) == "embedded")

    removal = new_system.run("dpkg", "--remove", "do-dcgm-exporter")
    assert edited in removal.stdout + removal.stderr
    assert new_system.read(edited) == mine
    assert engine_of(new_system, 9400) == ENGINE


def test_two_at_once_do_what_one_does(installed: System, workshop: Path) -> None:
    assert installed.serves(hostengine_up=True)
    put_one(installed, 9402)
    assert finished(installed)
    both = "do-dcgm-exporter-integrate apply & do-dcgm-exporter-integrate apply; wait $!"
    installed.run("sh", "-ec", both)

    assert engine_of(installed, 9402) == ENGINE
    assert installed.journal("exporter-9402.service").count("Started ") == 2


def test_while_our_package_is_deconfigured_exporters_are_as_they_were(
    installed: System, workshop: Path
) -> None:
    assert installed.serves(hostengine_up=True)
    put_one(installed, 9402)
    assert integrate(installed, "apply").returncode == 0
    breaker = Package(workshop, "breaker", "1", Breaks="do-dcgm-exporter").build()
    said = installed.run(
        "dpkg", "--auto-deconfigure", "--install", *installed.put(breaker), check=False
    ).stderr
    assert "will deconfigure do-dcgm-exporter" in said  # and cannot configure it again
    assert installed.becomes(lambda: engine_of(installed, 9402) == "embedded")

    installed.run("dpkg", "--remove", "breaker")
    installed.run("dpkg", "--configure", "do-dcgm-exporter")
    assert finished(installed)
    assert engine_of(installed, 9402) == ENGINE
