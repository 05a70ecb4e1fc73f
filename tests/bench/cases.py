"""The columns of the table: simulated machines and their counters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from do_dcgm_exporter.config.counters import read_counter_set
from do_dcgm_exporter.dcgm.fields import EntityLevel, ValueType, all_fields

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_COUNTERS = REPOSITORY / "etc" / "do-dcgm-exporter" / "default-counters.csv"
PEAKS = REPOSITORY / "counter-groups" / "peaks.csv"
MANY_FIELDS = 168

# An H100 can be cut into at most seven instances.
_CUT = ",".join(["1g.10gb"] * 7)
_LEVELS = (
    EntityLevel.GPU,
    EntityLevel.GPU_I,
    EntityLevel.GPU_CI,
    EntityLevel.SWITCH,
    EntityLevel.LINK,
    EntityLevel.CPU,
    EntityLevel.CPU_CORE,
)


@dataclass(frozen=True)
class Machine:
    """A scenario of the simulator, with some of its GPUs cut into seven instances."""

    name: str
    scenario: str
    cut: int = 0

    def cuts(self) -> list[tuple[str, ...]]:
        """The control commands that cut the GPUs."""
        return [("mig", f"--gpu={gpu}", _CUT) for gpu in range(self.cut)]


@dataclass(frozen=True)
class Case:
    """One machine and one counters file."""

    machine: Machine
    counters_name: str
    counters: Path

    @property
    def name(self) -> str:
        """Its name in figures."""
        return f"{self.machine.name}, {self.counters_name}"

    @property
    def heading(self) -> tuple[str, str]:
        """The heading of its column."""
        return self.machine.name, self.counters_name


MACHINES = (
    Machine("1 GPU", "h100x1"),
    Machine("8 GPUs", "h100x8"),
    Machine("56 MIG", "h100x8", cut=8),
    Machine("hgx", "hgx"),
    Machine("grace", "grace"),
)


def all_cases(directory: Path) -> list[Case]:
    """Every machine with the default set and with many fields, and one with peaks.

    Files of counters go to ``directory``.
    """
    many, peaks = directory / "many.csv", directory / "peaks.csv"
    many.write_text(many_counters())
    peaks.write_text(DEFAULT_COUNTERS.read_text() + PEAKS.read_text())
    return [
        *(
            Case(machine, name, counters)
            for name, counters in (("default", DEFAULT_COUNTERS), (f"{MANY_FIELDS} fields", many))
            for machine in MACHINES
        ),
        Case(MACHINES[1], "peaks", peaks),
    ]


def many_counters() -> str:
    """The default counters, and as many more numeric fields as needed for the number."""
    default = read_counter_set(DEFAULT_COUNTERS, ())
    present = {counter.field.id for counter in default.counters if counter.field}
    further = [
        f"{field.id}, gauge, benchmark"
        for field in all_fields()
        if field.id not in present
        and field.value_type in (ValueType.INTEGER, ValueType.DOUBLE)
        and field.level in _LEVELS
        and not field.internal_only
    ]
    wanted = MANY_FIELDS - len(present)
    return "\n".join([DEFAULT_COUNTERS.read_text(), *further[:wanted]])
