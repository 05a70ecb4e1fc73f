"""What to do with each exporter: findings and a choice become goals; nothing is touched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from do_dcgm_exporter.dcgm.engine_answer import Condition, EngineAnswer
from do_dcgm_exporter.integration.deciding import drop_in as drop_in_text
from do_dcgm_exporter.integration.deciding.exporter import ExporterCommand, Form, UnitExporter
from do_dcgm_exporter.integration.deciding.record import (
    Record,
    Refusal,
    StoppedUnit,
    settings_of,
)
from do_dcgm_exporter.integration.deciding.records import DropIn, Owner, Records, hands_off
from do_dcgm_exporter.integration.exporter_arguments import is_local
from do_dcgm_exporter.integration.looking.configuration import Choice
from do_dcgm_exporter.integration.looking.our_files import path_of
from do_dcgm_exporter.settings import EngineAddress


class Goal(Enum):
    """How a unit shall be in the end."""

    CLIENT = "rewrite"
    STOPPED = "stop"
    ORIGINAL = "put back"
    UNTOUCHED = "leave"


class Reason(Enum):
    """Why an exporter is left as it is."""

    NONE = ""
    CLIENT = "is a client already"
    ELSEWHERE = "is a client of another engine"
    EDITED = "its drop-in is not ours"
    FORBIDDEN = "its drop-in is forbidden"
    CHOSEN = "is left by choice"
    ENGINE = "the engine does not answer"
    VERSION = "it speaks another DCGM"
    UNKNOWN_VERSION = "which DCGM it speaks is not known"
    REFUSED = "it does not run as a client"
    DOWN = "it is a client and does not run"


# The admin wants a second engine.
WISHED = frozenset({Reason.CHOSEN, Reason.FORBIDDEN})
# No second engine runs.
HARMLESS = frozenset({Reason.CLIENT, Reason.ELSEWHERE, Reason.DOWN})


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with one unit.

    A client with a ``text`` gets that as its drop-in; ``restart`` is whether it has to be
    restarted for it even if it is a client of the engine now.
    """

    unit: str
    goal: Goal
    reason: Reason = Reason.NONE
    why: str = ""
    text: str = ""
    restart: bool = False


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What all decisions depend on. ``engine`` is None while it has not been asked.

    ``engine_is_expected`` is whether one that is absent will come, so that clients may wait.
    ``chosen_by`` is where the choice was made, ``retry`` whether refusals are forgotten.
    """

    choice: Choice
    address: EngineAddress
    engine: EngineAnswer | None
    engine_is_expected: bool = True
    chosen_by: str = "embedded-exporters"
    retry: bool = False


def needs_engine(exporter: UnitExporter, records: Records, now: Circumstances) -> bool:
    """Whether a decision depends on what the engine answers."""
    fits = EngineAnswer(Condition.ANSWERS, engine=f"{exporter.library_major or 4}.0.0")
    asked, unasked = (decide(exporter, records, replace(now, engine=e)) for e in (fits, None))
    return asked != unasked


def is_loaded(exporter: UnitExporter) -> bool:
    """Whether the manager has read our drop-in."""
    return path_of(exporter.name) in exporter.view.drop_ins


def is_stale(exporter: UnitExporter, drop_in: DropIn, address: EngineAddress) -> bool:
    """Whether a drop-in was made for something else than what is there now.

    A variable goes on being right when the rest of the unit changes. A container's whole
    command stands in the drop-in, and a variable hides one that somebody has set since.
    """
    command, record = exporter.command, drop_in.record
    if not is_loaded(exporter):
        return False
    if record.engine != str(address) or command.remote != record.engine:
        return True
    hides = command.form is Form.CONTAINER or exporter.names_engine
    return hides and record.source != exporter.source


def ran_with_it(exporter: UnitExporter, record: Record) -> bool:
    """Whether a unit has been started since it has its drop-in."""
    return exporter.view.invocation != record.invocation


def decide(exporter: UnitExporter, records: Records, now: Circumstances) -> Decision:
    """Decide about one unit."""
    drop_in = records.drop_ins.get(exporter.name)
    ours = drop_in if drop_in and drop_in.is_ours else None
    judge = _Judge(exporter, ours, records, now)
    if drop_in and not ours:
        reason = Reason.FORBIDDEN if drop_in.owner is Owner.FORBIDDEN else Reason.EDITED
        return judge.leave(reason, hands_off(exporter.name, drop_in))
    return judge.decide(exporter.command)


@dataclass(frozen=True, slots=True)
class _Judge:
    """One unit, our drop-in if it has one, and what speaks for and against changing it."""

    exporter: UnitExporter
    ours: DropIn | None
    records: Records
    now: Circumstances

    @property
    def _stopped(self) -> StoppedUnit | None:
        return self.records.stopped.get(self.exporter.name)

    def decide(self, command: ExporterCommand) -> Decision:
        """Decide about a unit whose drop-in, if it has one, is ours."""
        rewritten = self.ours is not None and is_loaded(self.exporter)
        if command.remote is not None and not rewritten:
            return self._somebodys(command.remote)
        if self.now.choice is Choice.LEAVE:
            return self._give_up(Reason.CHOSEN, f"{self.now.chosen_by} is leave")
        if self.now.choice is Choice.STOP:
            return Decision(self.exporter.name, Goal.STOPPED)
        if self.ours and rewritten:
            return self._keep(self.ours)
        return self._rewrite(command)

    def leave(self, reason: Reason, why: str) -> Decision:
        """Change nothing."""
        return Decision(self.exporter.name, Goal.UNTOUCHED, reason, why)

    def _give_up(self, reason: Reason, why: str) -> Decision:
        """Leave it, and undo what was done to it."""
        goal = Goal.ORIGINAL if self.ours or self._stopped else Goal.UNTOUCHED
        return Decision(self.exporter.name, goal, reason, why)

    def _somebodys(self, remote: str) -> Decision:
        """Leave an exporter that somebody else has told of an engine."""
        local = is_local(remote, {self.now.address.port})
        reason = Reason.CLIENT if local else Reason.ELSEWHERE
        return self._give_up(reason, f"told to use {remote or 'an engine'}")

    # Clients that we have made

    def _keep(self, ours: DropIn) -> Decision:
        """Keep a client, unless the engine is gone or has become one of another release."""
        engine, view = self.now.engine, self.exporter.view
        if engine and engine.answers and engine.major and not self._fits(engine):
            return self._give_up(Reason.VERSION, self._misfit(engine))
        if view.is_in_trouble:
            return self._in_trouble(ours)
        if ours.record.proven or not view.is_running:
            return Decision(
                self.exporter.name, Goal.CLIENT, Reason.CLIENT, f"rewritten to {ours.record.engine}"
            )
        if engine is None or not engine.answers:
            return self.leave(Reason.ENGINE, self._unusable(engine))
        return Decision(self.exporter.name, Goal.CLIENT)

    def _in_trouble(self, ours: DropIn) -> Decision:
        """Give up a client that never worked, or waits for an engine that will not come."""
        engine, name = self.now.engine, self.exporter.name
        if engine and engine.answers:
            if not ours.record.proven and ran_with_it(self.exporter, ours.record):
                why = f"it does not run as a client: journalctl -u {name}"
                return self._give_up(Reason.REFUSED, why)
            return Decision(name, Goal.CLIENT, Reason.DOWN)
        why = self._unusable(engine)
        if engine and engine.condition is Condition.ABSENT and not self.now.engine_is_expected:
            return self._give_up(Reason.ENGINE, why)
        return Decision(name, Goal.CLIENT, Reason.DOWN, why)

    # Those that become one

    def _rewrite(self, command: ExporterCommand) -> Decision:
        engine, major = self.now.engine, self.exporter.library_major
        if engine is None or not engine.answers:
            return self._give_up(Reason.ENGINE, self._unusable(engine))
        if not major:
            why = "which DCGM it speaks shows only while it runs: start it, then apply"
            return self._give_up(Reason.UNKNOWN_VERSION, why)
        if not self._fits(engine):
            return self._give_up(Reason.VERSION, self._misfit(engine))
        refusal = self.records.refused.get(self.exporter.name)
        if refusal and not self.now.retry and self._is_what_refused(refusal):
            return self._give_up(Reason.REFUSED, refusal.reason)
        return self._client(command)

    def _is_what_refused(self, refusal: Refusal) -> bool:
        tried = (refusal.source, refusal.engine)
        return tried == (self.exporter.source, str(self.now.address))

    def _client(self, command: ExporterCommand) -> Decision:
        name, view = self.exporter.name, self.exporter.view
        fresh = Record(
            invocation=view.invocation,
            was_active=view.is_running or (self._stopped is not None and self._stopped.was_active),
            made_folder=name not in self.records.folders,
        )
        record = replace(
            self.ours.record if self.ours else fresh,
            engine=str(self.now.address),
            source=self.exporter.source,
            proven=False,
        )
        text = drop_in_text.text_for(view, command, record)
        restart = self.ours is not None and settings_of(text) != settings_of(self.ours.text)
        return Decision(name, Goal.CLIENT, text=text, restart=restart)

    def _unusable(self, engine: EngineAnswer | None) -> str:
        words = engine.reason if engine else "it was not asked"
        return f"the engine at {self.now.address} cannot be used: {words}"

    def _fits(self, engine: EngineAnswer) -> bool:
        return self.exporter.library_major in (0, engine.major)

    def _misfit(self, engine: EngineAnswer) -> str:
        release = engine.engine or "of an unknown release"
        return f"it speaks DCGM {self.exporter.library_major}, the engine is DCGM {release}"
