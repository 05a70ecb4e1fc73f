"""What to do with each exporter: findings and a choice become goals; nothing is touched."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from do_dcgm_exporter.integration.changing import drop_in
from do_dcgm_exporter.integration.changing.drop_in import Owner
from do_dcgm_exporter.integration.changing.state import Change, UnitRecord
from do_dcgm_exporter.integration.deciding.exporter_command import ExporterCommand, Form
from do_dcgm_exporter.integration.exporter_arguments import is_local
from do_dcgm_exporter.integration.looking.configuration import Choice
from do_dcgm_exporter.integration.looking.engine_probe import Condition, EngineAnswer
from do_dcgm_exporter.integration.looking.exporters import UnitExporter
from do_dcgm_exporter.settings import EngineAddress


class Goal(Enum):
    """How a unit shall be in the end."""

    REWRITTEN = "rewrite"
    STOPPED = "stop"
    ORIGINAL = "put back"
    UNTOUCHED = "leave"


class Reason(Enum):
    """Why an exporter is left as it is."""

    NONE = ""
    CLIENT = "is a client already"
    ELSEWHERE = "is a client of another engine"
    MASKED = "is masked"
    EDITED = "its drop-in was edited or deleted"
    FORBIDDEN = "its drop-in is forbidden"
    CHOSEN = "is left by choice"
    CONTAINER = "is a container that cannot reach the engine"
    ENGINE = "the engine does not answer"
    VERSION = "it speaks another DCGM"
    UNKNOWN_VERSION = "which DCGM it speaks is not known"
    REFUSED = "it did not come back as a client"
    DOWN = "it is a client and does not run"


# The admin wants a second engine.
WISHED = frozenset({Reason.CHOSEN, Reason.FORBIDDEN})
# Reasons of somebody's own, with which no second engine runs.
HARMLESS = frozenset({Reason.CLIENT, Reason.ELSEWHERE, Reason.MASKED, Reason.DOWN})


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with one unit; ``text`` is the drop-in's for a rewritten one."""

    unit: str
    goal: Goal
    reason: Reason = Reason.NONE
    why: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What all decisions depend on. ``engine`` is None while it has not been asked.

    ``engine_is_expected`` is whether one that is absent will come, so that clients may wait.
    ``chosen_by`` is where the choice was made.
    """

    choice: Choice
    address: EngineAddress
    engine: EngineAnswer | None
    retry: bool = False
    engine_is_expected: bool = True
    chosen_by: str = "embedded-exporters"


def needs_engine(exporter: UnitExporter, owner: Owner, record: UnitRecord | None) -> bool:
    """Whether a decision to rewrite depends on what the engine answers."""
    unasked = Circumstances(Choice.REWRITE, EngineAddress(), None, retry=True)
    return decide(exporter, owner, record, unasked).reason is Reason.ENGINE


def is_in_trouble(exporter: UnitExporter, record: UnitRecord | None) -> bool:
    """Whether a client that we made does not run: its engine may be another one now."""
    made_by_us = record is not None and record.change is Change.REWRITTEN
    return made_by_us and exporter.view.is_in_trouble


def is_stale(exporter: UnitExporter, record: UnitRecord, address: EngineAddress) -> bool:
    """Whether a change was made for something else than what is there now."""
    return not record.settled or (record.source, record.engine) != (exporter.source, str(address))


def still_serves(exporter: UnitExporter, record: UnitRecord, address: EngineAddress) -> bool:
    """Whether the drop-in of a unit that has changed is right all the same.

    A variable is; a command has to be made anew.
    """
    command = exporter.command
    return (
        record.settled
        and command is not None
        and command.form is not Form.CONTAINER
        and not exporter.names_engine
        and command.remote == record.engine == str(address)
    )


def decide(
    exporter: UnitExporter, owner: Owner, record: UnitRecord | None, now: Circumstances
) -> Decision:
    """Decide about one unit."""
    judge = _Judge(exporter, record, now)
    if exporter.command is None:
        return judge.leave(Reason.MASKED, "masked by the admin")
    path = drop_in.path_of(exporter.name)
    if owner is Owner.FORBIDDEN:
        return judge.hands_off(Reason.FORBIDDEN, f"you forbid it by {path} -> /dev/null")
    if owner is Owner.ADMIN:
        return judge.hands_off(Reason.EDITED, f"{path} is not as it was written: it is yours")
    if owner is Owner.DELETED:
        return judge.hands_off(Reason.EDITED, f"{path} was deleted: that is up to you")
    if record and record.change is Change.REFUSED and not record.settled:
        return Decision(exporter.name, Goal.ORIGINAL)
    rewritten = owner is Owner.OURS and exporter.has_drop_in
    if exporter.command.remote is not None and not rewritten:
        return judge.somebodys(exporter.command.remote)
    if now.choice is Choice.LEAVE:
        return judge.give_up(Reason.CHOSEN, f"{now.chosen_by} is leave")
    if now.choice is Choice.STOP:
        return Decision(exporter.name, Goal.STOPPED)
    if rewritten and record and record.settled and record.change is Change.REWRITTEN:
        return judge.keep(record)
    return judge.rewrite(exporter.command)


@dataclass(frozen=True, slots=True)
class _Judge:
    """One unit and what speaks for and against changing it."""

    exporter: UnitExporter
    record: UnitRecord | None
    now: Circumstances

    def hands_off(self, reason: Reason, why: str) -> Decision:
        """Change nothing at all."""
        return Decision(self.exporter.name, Goal.UNTOUCHED, reason, why)

    def leave(self, reason: Reason, why: str) -> Decision:
        """Leave it as it is; what an interrupted run has begun is undone."""
        if self.record and not self.record.settled:
            return self.give_up(reason, why)
        return self.hands_off(reason, why)

    def give_up(self, reason: Reason, why: str) -> Decision:
        """Leave it, and undo what was done to it."""
        goal = Goal.ORIGINAL if self.record else Goal.UNTOUCHED
        return Decision(self.exporter.name, goal, reason, why)

    def somebodys(self, remote: str) -> Decision:
        """Leave an exporter that was told of an engine by somebody else."""
        local = is_local(remote, {self.now.address.port})
        where = "an engine of somebody's choice" if remote in ("", "?") else remote
        reason = Reason.CLIENT if local else Reason.ELSEWHERE
        return self.give_up(reason, f"told to use {where}, which is left alone")

    def keep(self, record: UnitRecord) -> Decision:
        """Keep a client, unless the engine has become one that it cannot talk to, or is gone."""
        engine = self.now.engine
        if engine and engine.answers and engine.major and not self._fits(engine):
            return self.give_up(Reason.VERSION, self._misfit(engine))
        if is_in_trouble(self.exporter, record):
            return self._in_trouble()
        return Decision(
            self.exporter.name, Goal.REWRITTEN, Reason.CLIENT, f"rewritten to {record.engine}"
        )

    def _in_trouble(self) -> Decision:
        """Give up a client that waits for an engine that will not come."""
        engine, why = self.now.engine, ""
        if engine and not engine.answers:
            why = self._unusable(engine)
            if engine.condition is Condition.ABSENT and not self.now.engine_is_expected:
                return self.give_up(Reason.ENGINE, why)
        return Decision(self.exporter.name, Goal.REWRITTEN, Reason.DOWN, why)

    def _unusable(self, engine: EngineAnswer | None) -> str:
        words = engine.reason if engine else "not asked"
        return f"the engine at {self.now.address} cannot be used: {words}"

    def _fits(self, engine: EngineAnswer) -> bool:
        return self.exporter.library_major in (0, engine.major)

    def _misfit(self, engine: EngineAnswer) -> str:
        release = engine.engine or "of an unknown release"
        return f"it speaks DCGM {self.exporter.library_major}, the engine is DCGM {release}"

    def rewrite(self, command: ExporterCommand) -> Decision:
        """Make it a client, if it can be one now."""
        if command.form in (Form.CONTAINER_SCRIPT, Form.CONTAINER_START):
            return self.leave(
                Reason.CONTAINER, f"a {command.form.value}: it has to be changed where it is made"
            )
        if command.form is Form.CONTAINER and not command.host_network:
            return self.leave(
                Reason.CONTAINER,
                "its container has a network of its own: it needs --network host",
            )
        obstacle = self._obstacle()
        if obstacle:
            return obstacle
        text = drop_in.text_for(self.exporter.view, command, str(self.now.address))
        return Decision(self.exporter.name, Goal.REWRITTEN, text=text)

    def _obstacle(self) -> Decision | None:
        engine = self.now.engine
        if engine is None or not engine.answers:
            return self.leave(Reason.ENGINE, self._unusable(engine))
        if not self.exporter.library_major:
            return self.leave(
                Reason.UNKNOWN_VERSION,
                "which DCGM it speaks shows only while it runs: start it, then apply",
            )
        if not self._fits(engine):
            return self.leave(Reason.VERSION, self._misfit(engine))
        if self._has_refused():
            reason = self.record.reason if self.record else ""
            return self.leave(Reason.REFUSED, reason)
        return None

    def _has_refused(self) -> bool:
        """Whether the same was tried before: each attempt costs the exporter a minute."""
        record = self.record
        if record is None or record.change is not Change.REFUSED or self.now.retry:
            return False
        return is_stale(self.exporter, record, self.now.address) is False
