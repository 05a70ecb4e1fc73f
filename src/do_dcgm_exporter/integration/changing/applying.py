"""``apply`` and ``restore``: look, decide, change; services, then the snap, then containers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from do_dcgm_exporter.integration.changing import drop_in, state
from do_dcgm_exporter.integration.changing.applying_others import ContainersAndSnap
from do_dcgm_exporter.integration.changing.container_work import Containers
from do_dcgm_exporter.integration.changing.drop_in import Owner
from do_dcgm_exporter.integration.changing.lost_records import add_lost_records
from do_dcgm_exporter.integration.changing.snap_work import SnapWork
from do_dcgm_exporter.integration.changing.state import Change, State
from do_dcgm_exporter.integration.changing.unit_undo import UnitUndo
from do_dcgm_exporter.integration.changing.units import Units
from do_dcgm_exporter.integration.changing.workshop import (
    SHORTEST_WAIT,
    Level,
    MayRestart,
    Tell,
    Workshop,
)
from do_dcgm_exporter.integration.deciding.ownership import owner_of
from do_dcgm_exporter.integration.deciding.plan import (
    Circumstances,
    Decision,
    decide,
    is_in_trouble,
    is_stale,
    needs_engine,
    still_serves,
)
from do_dcgm_exporter.integration.host import ENGINE_SERVICE, Host
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.configuration import Choice, IntegrationSettings
from do_dcgm_exporter.integration.looking.engine_probe import EngineAnswer
from do_dcgm_exporter.integration.looking.engine_wait import ask_starting_engine, is_expected
from do_dcgm_exporter.integration.looking.exporters import UnitExporter, find_unit_exporters
from do_dcgm_exporter.integration.looking.processes import scan
from do_dcgm_exporter.integration.looking.systemd import Systemd
from do_dcgm_exporter.integration.reporting import messages

AskEngine = Callable[[], EngineAnswer]


@dataclass(frozen=True, slots=True)
class Means:
    """What applying needs, all of it replaceable."""

    host: Host
    tell: Tell
    systemd: Systemd = field(default_factory=Systemd)
    may_restart: MayRestart = lambda _: True
    shortest_wait: float = SHORTEST_WAIT


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller wants otherwise than the configuration says, or besides."""

    choice: Choice | None = None
    retry: bool = False
    recreate_containers: bool = False

    @property
    def chosen_by(self) -> str:
        """Where the choice was made."""
        return "--choice" if self.choice else "embedded-exporters"


class Applying:
    """One run of ``apply``. The caller holds the lock."""

    def __init__(
        self,
        means: Means,
        settings: IntegrationSettings,
        wish: Wish,
        *,
        ask: AskEngine | None = None,
    ) -> None:
        self._means = means
        self._host = means.host
        self._settings = settings
        self._choice = wish.choice or settings.choice
        self._wish = wish
        self._address = settings.local_engine
        self._ask = ask or (lambda: ask_starting_engine(settings, means.systemd))
        self._engine: EngineAnswer | None = None
        self._state = State()

    def plan(self) -> list[str]:
        """Say what would be done, without changing anything."""
        self._load()
        exporters = self._look()
        decisions = self._decide(exporters, self._owners(exporters))
        shop = self._workshop()
        others = ContainersAndSnap(
            shop, self._choice, self._answer, exporters, self._wish.chosen_by
        )
        return [
            *map(messages.planned, decisions),
            *others.plan(recreate=self._wish.recreate_containers),
        ]

    def run(self) -> bool:
        """Change what has to be changed; return whether nothing is left against the choice."""
        self._load()
        shop = self._workshop()
        units = Units(shop)
        exporters = self._look()
        if self._drop_strangers(shop, exporters):
            exporters = self._look()
        if stale := self._stale(exporters):
            units.withdraw(stale)
            exporters = self._look()
        decisions = self._decide(exporters, self._owners(exporters))
        units.carry_out(decisions, {exporter.name: exporter for exporter in exporters})
        clean = messages.name_what_is_left(decisions, self._state, self._means.tell)
        others = ContainersAndSnap(
            shop, self._choice, self._answer, exporters, self._wish.chosen_by
        )
        return others.apply(recreate=self._wish.recreate_containers) and clean

    def _load(self) -> None:
        self._state = state.load(self._host)
        add_lost_records(self._host, self._state)

    def _workshop(self) -> Workshop:
        return _workshop(self._means, self._state, str(self._address), self._address.port)

    def _look(self) -> tuple[UnitExporter, ...]:
        processes = scan(self._host, self._address.port)
        return find_unit_exporters(
            self._host, self._means.systemd, processes, tuple(self._state.units)
        )

    def _drop_strangers(self, shop: Workshop, exporters: Iterable[UnitExporter]) -> bool:
        """Undo what was done to units that are gone, or run no exporter any more.

        Return whether there were any.
        """
        names = {exporter.name for exporter in exporters}
        strangers = [record for unit, record in self._state.units.items() if unit not in names]
        UnitUndo(shop).put_back(strangers)
        return bool(strangers)

    def _owners(self, exporters: Iterable[UnitExporter]) -> dict[str, Owner]:
        return {exporter.name: self._owner(exporter) for exporter in exporters}

    def _owner(self, exporter: UnitExporter) -> Owner:
        return owner_of(self._host, exporter.name, self._state.units.get(exporter.name))

    def _stale(self, exporters: Iterable[UnitExporter]) -> list[str]:
        """Return the units whose drop-in has to be made anew, if there is an engine to use."""
        found = []
        for exporter in exporters:
            record = self._state.units.get(exporter.name)
            if record is None or record.change is not Change.REWRITTEN:
                continue
            if not is_stale(exporter, record, self._address):
                continue
            if self._owner(exporter) not in (Owner.OURS, Owner.NOBODY):
                continue
            if still_serves(exporter, record, self._address):
                self._state.units[exporter.name] = replace(record, source=exporter.source)
                state.save(self._host, self._state)
            else:
                found.append(exporter.name)
        return found if found and self._answer().answers else []

    def _decide(
        self, exporters: Sequence[UnitExporter], owners: dict[str, Owner]
    ) -> list[Decision]:
        records = self._state.units
        if self._choice is Choice.REWRITE and any(
            is_in_trouble(exporter, records.get(exporter.name))
            or needs_engine(exporter, owners[exporter.name], records.get(exporter.name))
            for exporter in exporters
        ):
            self._answer()
        now = Circumstances(
            self._choice,
            self._address,
            self._engine,
            self._wish.retry,
            self._engine_is_expected(),
            self._wish.chosen_by,
        )
        return [
            decide(exporter, owners[exporter.name], records.get(exporter.name), now)
            for exporter in exporters
        ]

    def _engine_is_expected(self) -> bool:
        if self._engine is None or self._engine.answers:
            return True
        try:
            view = self._means.systemd.view(ENGINE_SERVICE)
        except CommandFailed:
            return True  # that is no sign of anything
        return is_expected(view, self._settings.engine_unit)

    def _answer(self) -> EngineAnswer:
        if self._engine is None:
            self._engine = self._ask()
        return self._engine


def restore(means: Means) -> bool:
    """Undo everything; return whether that worked and nothing is left. The caller holds the lock.

    A state that cannot be read is set aside: what can be known without it is undone.
    """
    host = means.host
    try:
        known = state.load(host)
    except state.StateBroken as error:
        means.tell(Level.WARNING, f"{error.what}; what can be known without it is undone")
        state.set_aside(host)
        known = State()
    add_lost_records(host, known)
    recorded = set(known.units)
    shop = _workshop(means, known)
    UnitUndo(shop).put_back(list(known.units.values()))
    worked = Containers(shop).put_back(known.containers.values())
    if known.snap:
        worked = SnapWork(shop).put_back(known.snap) and worked
    state.save(host, known)
    return not _left(means, recorded) and worked


def _left(means: Means, named: Collection[str]) -> bool:
    """Name what is left of ours on the disk; return whether there is anything.

    The drop-ins of the units ``named`` were named before.
    """
    host, left = means.host, False
    for unit in drop_in.units_with_one(host):
        if drop_in.is_forbidden(host, unit):
            continue
        left = True
        if unit not in named:
            path = drop_in.path_of(unit)
            means.tell(Level.WARNING, f"{path} is not as it was written: it is yours and stays")
    if state.is_set_aside(host):
        left = True
        means.tell(
            Level.WARNING,
            f"{state.SET_ASIDE} has the state that could not be read: services that were stopped,"
            " containers that were recreated and the snap's engine may not be as they were;"
            " once they are, delete it",
        )
    return left


def _workshop(
    means: Means, known: State, engine: str = "localhost:5555", port: int = 5555
) -> Workshop:
    return Workshop(
        means.host,
        means.systemd,
        known,
        means.tell,
        engine,
        port,
        means.may_restart,
        means.shortest_wait,
    )
