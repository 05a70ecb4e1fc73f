"""Decide what to do with each exporter, from findings and the configured choice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.dcgm.engine_answer import Condition, EngineAnswer
from do_dcgm_exporter.integration.deciding.exporter import Form, UnitExporter
from do_dcgm_exporter.integration.deciding.records import (
    DropIn,
    Foreign,
    Record,
    Records,
    settings_of,
    text_for,
)
from do_dcgm_exporter.integration.exporter_arguments import is_local
from do_dcgm_exporter.integration.looking.configuration import Choice
from do_dcgm_exporter.integration.looking.our_files import path_of


class Goal(Enum):
    """What is to become of a unit."""

    CLIENT = "rewrite"
    STOPPED = "stop"
    ORIGINAL = "put back"
    UNTOUCHED = "leave"


class Reason(Enum):
    """Why an exporter is left alone."""

    NONE = ""
    CLIENT = "is a client already"
    ELSEWHERE = "is a client of another engine"
    EDITED = "its drop-in is not ours"
    FORBIDDEN = "its drop-in is forbidden"
    CHOSEN = "is left alone, as configured"
    ENGINE = "the engine does not answer"
    VERSION = "it uses another DCGM"
    UNKNOWN_VERSION = "its DCGM release is not known"
    REFUSED = "it does not run as a client"
    DOWN = "it is a client and does not run"


# The admin wants a second DCGM.
WISHED = frozenset({Reason.CHOSEN, Reason.FORBIDDEN})
# There is no second DCGM.
HARMLESS = frozenset({Reason.CLIENT, Reason.ELSEWHERE, Reason.DOWN})


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with one unit.

    A client with a ``text`` gets that as its drop-in; ``restart`` is whether it has to be
    restarted for it although it is a client of the engine already.
    """

    unit: str
    goal: Goal
    reason: Reason = Reason.NONE
    why: str = ""
    text: str = ""
    restart: bool = False


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What all decisions depend on. ``engine`` is None until it has been asked.

    ``engine_is_expected`` is whether an absent engine will start, so that clients may wait.
    """

    choice: Choice
    address: EngineAddress
    engine: EngineAnswer | None = None
    engine_is_expected: bool = True


def is_loaded(exporter: UnitExporter) -> bool:
    """Return whether the manager has read our drop-in."""
    return path_of(exporter.name) in exporter.view.drop_ins


def is_stale(exporter: UnitExporter, ours: DropIn, address: EngineAddress) -> bool:
    """Return whether a drop-in was made for something other than what is there now.

    A variable stays right when the rest of the unit changes, unless somebody has set it there
    since. For a container, the drop-in has the whole command.
    """
    is_right = ours.record.engine == str(address) == exporter.command.remote
    if exporter.command.form is Form.CONTAINER or exporter.names_engine:
        is_right = is_right and ours.record.source == exporter.source
    return is_loaded(exporter) and not is_right


def tried_with(exporter: UnitExporter, address: EngineAddress) -> str:
    """Return the key under which a refusal is remembered."""
    return f"{exporter.source} {address}"


def decide(exporter: UnitExporter, records: Records, now: Circumstances) -> Decision:
    """Decide about one unit."""
    return _Judge(exporter, records.ours.get(exporter.name), records, now).decide()


@dataclass(frozen=True, slots=True)
class _Judge:
    """One unit, its drop-in if it has one, and all that the decision depends on."""

    exporter: UnitExporter
    ours: DropIn | None
    records: Records
    now: Circumstances

    def decide(self) -> Decision:
        """Decide about it."""
        name, remote = self.exporter.name, self.exporter.command.remote
        if foreign := self.records.foreign.get(name):
            reason = Reason.FORBIDDEN if foreign is Foreign.FORBIDDEN else Reason.EDITED
            return Decision(name, Goal.UNTOUCHED, reason, foreign.value.format(path_of(name)))
        ours = self.ours if is_loaded(self.exporter) else None
        if remote is not None and not ours:
            is_here = is_local(remote, {self.now.address.port})
            why = f"told to use {remote or 'an engine'}"
            return self._give_up(Reason.CLIENT if is_here else Reason.ELSEWHERE, why)
        if self.now.choice is Choice.LEAVE:
            return self._give_up(Reason.CHOSEN, "it is left alone, as configured")
        if self.now.choice is Choice.STOP:
            return Decision(name, Goal.STOPPED)
        return self._keep(ours) if ours else self._rewrite()

    def _give_up(self, reason: Reason, why: str) -> Decision:
        """Leave it alone, and undo earlier changes."""
        name = self.exporter.name
        is_changed = self.ours or name in self.records.stopped
        return Decision(name, Goal.ORIGINAL if is_changed else Goal.UNTOUCHED, reason, why)

    def _keep(self, ours: DropIn) -> Decision:
        """Keep a client, unless the engine's release has changed."""
        engine, view, record = self.now.engine, self.exporter.view, ours.record
        is_down = not view.is_running
        if is_down and engine and engine.answers and engine.major and not self._fits(engine):
            return self._give_up(Reason.VERSION, self._misfit(engine))
        if view.is_in_trouble:
            return self._in_trouble(record)
        if record.proven or not view.is_running:
            why = f"rewritten to {record.engine}"
            return Decision(view.name, Goal.CLIENT, Reason.CLIENT, why)
        if engine is None or not engine.answers:
            return Decision(view.name, Goal.UNTOUCHED, Reason.ENGINE, self._unusable())
        return Decision(view.name, Goal.CLIENT)

    def _in_trouble(self, record: Record) -> Decision:
        """Test a client again that never worked; give up one whose engine will not start."""
        engine, view = self.now.engine, self.exporter.view
        if engine and engine.answers:
            if record.proven or view.invocation == record.invocation:
                return Decision(view.name, Goal.CLIENT, Reason.DOWN)
            return Decision(view.name, Goal.CLIENT, why=f"it failed before its test: {view.log}")
        if engine and engine.condition is Condition.ABSENT and not self.now.engine_is_expected:
            return self._give_up(Reason.ENGINE, self._unusable())
        return Decision(view.name, Goal.CLIENT, Reason.DOWN, self._unusable())

    def _rewrite(self) -> Decision:
        """Make it a client, if that is possible now."""
        engine, exporter = self.now.engine, self.exporter
        if engine is None or not engine.answers:
            return self._give_up(Reason.ENGINE, self._unusable())
        if not exporter.library_major:
            why = "its DCGM release is only known while it runs: start it, then apply"
            return self._give_up(Reason.UNKNOWN_VERSION, why)
        if not self._fits(engine):
            return self._give_up(Reason.VERSION, self._misfit(engine))
        tried, *reason = self.records.refused.get(exporter.name, [""])
        if tried == tried_with(exporter, self.now.address):
            return self._give_up(Reason.REFUSED, "".join(reason))
        old = self.ours.record if self.ours else self._fresh_record()
        address, source = str(self.now.address), exporter.source
        record = replace(old, engine=address, source=source, proven=False)
        text = text_for(exporter.view, exporter.command, record)
        restart = self.ours is not None and settings_of(text) != settings_of(self.ours.text)
        return Decision(exporter.name, Goal.CLIENT, text=text, restart=restart)

    def _fresh_record(self) -> Record:
        name, view = self.exporter.name, self.exporter.view
        stopped = self.records.stopped.get(name)
        return Record(
            invocation=view.invocation,
            was_active=view.is_running or (stopped is not None and stopped.was_active),
            made_folder=name not in self.records.folders,
        )

    def _unusable(self) -> str:
        words = self.now.engine.reason if self.now.engine else "it was not asked"
        return f"the engine at {self.now.address} cannot be used: {words}"

    def _fits(self, engine: EngineAnswer) -> bool:
        return self.exporter.library_major in (0, engine.major)

    def _misfit(self, engine: EngineAnswer) -> str:
        release = engine.engine or "of an unknown release"
        return f"it uses DCGM {self.exporter.library_major}, the engine is DCGM {release}"
