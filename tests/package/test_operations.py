"""docs/operations.md, word for word: a booted system is made to break in all of its ways.

A command stands after `#`, the prompt of root; what it prints stands below it, where `…` is
anything. For every section the fault is there first, then its commands are run in the order
in which they stand, and in the end the system has to be well again.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.package import exporters, packages
from tests.package.conftest import system_over
from tests.package.packages import CLONE, ENGINE, Package
from tests.package.system import CONF, EXPORTER, FULL, NAME, System

HANDBOOK = (CLONE / "docs" / "operations.md").read_text()
HOME = "/usr/share/datacenter-gpu-manager-4/simulated"
INTEGRATE = "do-dcgm-exporter-integrate check"
REPOSITORY = "/var/cache/local-repository"
PROGRAMS = ("curl", "date", "do-dcgm-exporter", "journalctl", "sed", "ss", "systemctl")
SERVER = ("python3", "-m", "http.server")


@dataclass(frozen=True)
class Step:
    """A command and what it prints."""

    command: str
    printed: str

    @property
    def pattern(self) -> str:
        """A regular expression of what it prints, whatever comes before and after."""
        return re.escape(self.printed).replace("…", ".*?")


def steps_of(text: str) -> list[Step]:
    """The commands of a section, in order."""
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    found = re.split("(?m)^# ", "\n".join(lines))[1:]
    return [Step(*(*block.rstrip().split("\n", 1), "")[:2]) for block in found]


INTRODUCTION, *_SECTIONS = re.split(r"(?m)^## (?=\d+\. )", HANDBOOK)
SECTIONS = {int(text.partition(".")[0]): steps_of(text) for text in _SECTIONS}


def nothing(_: System) -> None:
    """What is wrong stays so: the remedy is a reboot, a phone call, or none."""


def is_well(system: System) -> bool:
    return system.has_full_metrics()


@dataclass(frozen=True)
class Fault:
    """How a system is broken, what a person does before the commands of the remedy, and the end."""

    section: int
    name: str
    cause: Callable[[System], None]
    repair: Callable[[System], None] = nothing
    in_the_end: Callable[[System], bool] = field(default=is_well)


# Of the engine's package, whose modules are private to it.
CONTROL = f"""\
import sys
sys.path.insert(0, {HOME!r})
from dcgm_simulator.cli import main
sys.exit(main())
"""


def control(*command: str) -> Callable[[System], None]:
    """Tell the engine to misbehave."""

    def cause(system: System) -> None:
        system.run("python3", "-c", CONTROL, "control", *command)

    return cause


def play(scenario: str) -> Callable[[System], None]:
    """Let the machine be another one: the engine of the next start finds other hardware."""

    def cause(system: System) -> None:
        engine = ENGINE.format(home=HOME, version="4.5.3")
        system.write("/usr/bin/nv-hostengine", engine.replace(
            '{"DCGM_SIMULATOR_VERSION"',
            f'{{"DCGM_SIMULATOR_SCENARIO": "{scenario}", "DCGM_SIMULATOR_VERSION"',
        ))  # fmt: skip

    return cause


def restarted_as(scenario: str) -> Callable[[System], None]:
    def cause(system: System) -> None:
        play(scenario)(system)
        system.run("systemctl", "restart", NAME)

    return cause


def configure(**settings: str) -> Callable[[System], None]:
    """Set keys of the configuration file as a person does: in their line, or at the end."""

    def cause(system: System) -> None:
        text = system.configuration
        for name, value in settings.items():
            line = f"{name.replace('_', '-')} = {value}"
            text, found = re.subn(rf"(?m)^{line.partition(' ')[0]} = .*$", line, text)
            text += "" if found else f"{line}\n"
        system.write(CONF, text)

    return cause


def stop_the_engine(system: System) -> None:
    system.run("systemctl", "stop", NAME)


def with_a_gpu_lost(system: System) -> None:
    control("lose-gpu", "3")(system)
    control("xid", "--gpu", "3", "79")(system)


def with_dcgm_upgraded(system: System) -> None:
    system.install(packages.dcgm4(system.root / "var" / "tmp", "4.6.0"))
    system.run("systemctl", "restart", EXPORTER)


def with_a_refused_reload(system: System) -> None:
    configure(collect_interval="5")(system)
    system.run("systemctl", "reload", EXPORTER)


def with_another_exporter(system: System) -> None:
    """One that nobody told where the engine is, and so has a DCGM of its own loaded."""
    exporters.put_program(system)
    system.write(f"/etc/systemd/system/{exporters.UNIT}", exporters.VENDOR_UNIT)
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "start", exporters.UNIT)


def with_the_port_taken(system: System) -> None:
    system.run("systemctl", "stop", EXPORTER)
    system.run("systemd-run", "--unit=other", *SERVER, "9401")
    assert system.becomes(lambda: bool(system.page()))
    system.run("systemctl", "start", "--no-block", EXPORTER)


def listening_on_loopback_only(system: System) -> None:
    configure(address="127.0.0.1:9401")(system)
    system.run("systemctl", "restart", EXPORTER)


def posting_to_nobody(system: System) -> None:
    configure(forward="yes", forward_url="http://127.0.0.1:8080/v1/gpu_metrics",
              forward_interval="1000")(system)  # fmt: skip
    system.run("systemctl", "restart", EXPORTER)
    root = "/run/metadata"
    system.write(f"{root}/metadata/v1/id", "1234567\n")
    server = (*SERVER, "--bind", "169.254.169.254", "--directory", root, "80")
    system.run("systemd-run", "--unit=metadata", *server)


def without_the_profiling_module(system: System) -> None:
    """The package that has it can be had, as NVIDIA's repository offers it."""
    package = Package(system.root / "tmp", "datacenter-gpu-manager-4-proprietary", "1:4.5.3-1")
    offered = system.put(package.build())
    system.run("mkdir", "--parents", REPOSITORY)
    system.run("cp", *offered, REPOSITORY)
    index = subprocess.run(
        ["dpkg-scanpackages", "."],
        cwd=system.root / REPOSITORY.lstrip("/"), capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    system.write(f"{REPOSITORY}/Packages", index)
    system.write("/etc/apt/sources.list", f"deb [trusted=yes] file:{REPOSITORY} ./\n")
    system.run("apt-get", "update")
    restarted_as("a100-no-prof")(system)


def has_a_problem(system: System) -> bool:
    return system.run(*INTEGRATE.split(), check=False).returncode == 1


FAULTS = (
    Fault(1, "stopped", stop_the_engine),
    Fault(1, "hangs", control("hang")),
    Fault(2, "upgraded", with_dcgm_upgraded),
    Fault(3, "no-driver", restarted_as("no-nvml"), repair=play("h100x8")),
    Fault(4, "gpu-lost", with_a_gpu_lost, in_the_end=lambda _: True),
    Fault(5, "xid", control("xid", "--gpu", "0", "48")),
    Fault(6, "no-profiling", without_the_profiling_module, repair=play("h100x8")),
    Fault(7, "another-engine", with_another_exporter, in_the_end=has_a_problem),
    Fault(8, "port-taken", with_the_port_taken, in_the_end=lambda s: s.has_full_metrics(9402)),
    Fault(9, "refused", with_a_refused_reload, repair=configure(collect_interval="1000")),
    Fault(10, "unsupported", nothing),
    Fault(11, "loopback-only", listening_on_loopback_only),
    Fault(12, "posting-fails", posting_to_nobody),
)


@pytest.fixture
def system(with_exporter: list[Path]) -> Iterator[System]:
    """A system that is well, and reads once a second so that faults show at once."""
    with system_over(with_exporter) as system:
        configure(collect_interval="1000", stale_after="5000")(system)
        system.run("systemctl", "restart", EXPORTER)
        assert is_well(system)
        yield system


def shows(system: System, step: Step) -> bool:
    """Whether a command prints what the handbook says, within a time that people wait."""
    printed = ""

    def now() -> bool:
        nonlocal printed
        said = system.run("sh", "-c", step.command, check=False)
        printed = said.stdout + said.stderr
        return re.search(step.pattern, printed) is not None

    if system.becomes(now):
        return True
    print(f"{step.command} printed, and not {step.printed}:\n{printed}")
    return False


def test_there_are_twelve_things_and_each_is_tried() -> None:
    assert list(SECTIONS) == list(range(1, 13))
    assert {fault.section for fault in FAULTS} == set(SECTIONS)
    for number, steps in SECTIONS.items():
        assert steps, f"section {number} has no command"


def test_a_system_that_is_well_says_so(system: System) -> None:
    health, bundle = steps_of(INTRODUCTION)
    assert shows(system, health)

    system.write("/etc/web.yml", "basic_auth_users:\n  alice: hunter2\n")
    system.write(CONF, f"{system.configuration}web-config-file = /etc/web.yml\n")
    assert shows(system, bundle)
    path = bundle.command.split()[-1]
    assert system.run("stat", "--format=%a %U", path).stdout == "600 root\n"
    text = system.read(path)
    for part in (*FULL, "datacenter-gpu-manager-4-core", "no problems", "basic_auth_users:",
                 "collect-interval = 1000", "Started do-dcgm-exporter.service"):  # fmt: skip
        assert part in text, part
    assert "hunter2" not in text

    said = system.run("sh", "-c", bundle.command, check=False)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.endswith(f"{path} exists and is not overwritten: name another file\n")
    assert system.read(path) == text


def test_a_full_disk_gets_no_part_of_a_bundle(system: System) -> None:
    system.run("systemctl", "stop", NAME)  # nor is an engine needed
    system.run("mount", "-t", "tmpfs", "-o", "size=4k", "none", "/mnt")
    said = system.run(*INTEGRATE.split(), "--bundle", "/mnt/bundle.txt", check=False)
    why = "/mnt/bundle.txt cannot be written: No space left on device"
    assert (said.returncode, said.stderr) == (2, f"do-dcgm-exporter-integrate: {why}\n")
    assert not system.exists("/mnt/bundle.txt")


def test_the_commands_in_its_sentences_run(system: System) -> None:
    prose = "\n".join(line for line in HANDBOOK.splitlines() if not line.startswith("    "))
    spans = {" ".join(span.split()) for span in re.findall("`([^`]+)`", prose)}
    commands = {span for span in spans if span.partition(" ")[0] in PROGRAMS and " " in span}
    assert len(commands) >= 3
    for command in commands:
        system.run("sh", "-c", command)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_section_shows_the_fault_and_mends_it(system: System, fault: Fault) -> None:
    first, *others = SECTIONS[fault.section]
    if first.command == INTEGRATE and not has_integration():
        assert not system.exists("/usr/sbin/do-dcgm-exporter-integrate")
        return
    fault.cause(system)
    assert shows(system, first)
    fault.repair(system)
    for step in others:
        if step.printed:
            assert shows(system, step)
        else:
            system.run("sh", "-c", step.command)
    assert fault.in_the_end(system)


def has_integration() -> bool:
    """Whether the package has the command that looks for other exporters."""
    return (CLONE / "src" / "do_dcgm_exporter" / "integration").is_dir()
