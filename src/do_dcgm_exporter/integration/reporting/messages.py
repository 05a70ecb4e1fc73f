"""What the command says while it works: to a person, a maintainer script or the journal."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from do_dcgm_exporter.commands.output import give_up
from do_dcgm_exporter.integration.changing.applying import Outcome
from do_dcgm_exporter.integration.changing.means import Level, Tell
from do_dcgm_exporter.integration.deciding.plan import HARMLESS, WISHED, Decision, Goal, Reason
from do_dcgm_exporter.integration.host import COMMAND
from do_dcgm_exporter.integration.looking.configuration import Choice

# sd-daemon(3): the journal reads the importance at the beginning of a line.
_PREFIXES = {Level.INFO: "<6>", Level.WARNING: "<4>"}


def tell(level: Level, text: str) -> None:
    """Say something: what was done on stdout, what went wrong on stderr."""
    stream: TextIO | None = sys.stderr if level is Level.WARNING else sys.stdout
    if stream is None:
        return  # closed: what was begun is brought to its end
    if _is_the_journals(stream):
        text = _PREFIXES[level] + text
    elif level is Level.WARNING:
        text = f"{COMMAND}: {text}"
    try:
        print(text, file=stream, flush=True)
    except OSError:
        give_up(stream)  # nobody listens any more; what was begun is brought to its end


def _is_the_journals(stream: TextIO) -> bool:
    """Whether the journal reads a stream: systemd.exec(5), JOURNAL_STREAM.

    The variable alone does not say so: a service may run apt, and that us.
    """
    journal = os.environ.get("JOURNAL_STREAM")
    if not journal:
        return False
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False  # it is no file at all
    return journal == f"{status.st_dev}:{status.st_ino}"


def name_what_is_left(outcome: Outcome, tell: Tell) -> bool:
    """Name every exporter that is not as it should be; return whether there is none."""
    for complaint in outcome.complaints:
        tell(Level.WARNING, complaint)
    down = [made for made in outcome.decisions if made.reason is Reason.DOWN]
    for made in down:
        why = made.why or f"journalctl -u {made.unit}"
        tell(Level.WARNING, f"{made.unit}, which is a client by our drop-in, does not run: {why}")
    left = [made for made in outcome.decisions if keeps_engine(made)]
    for made in left:
        tell(Level.WARNING, f"{made.unit} keeps its embedded DCGM: {made.why}")
    mentions = [mention for mention in outcome.exporters.mentions if mention.pids]
    for mention in mentions:
        tell(
            Level.WARNING,
            f"{mention.name} {mention.role.value}, with an embedded DCGM, and is never changed;"
            f" '{COMMAND} check' says how to connect it",
        )
    unwished = [made for made in left if made.reason not in WISHED]
    is_left_by_choice = outcome.choice is Choice.LEAVE
    is_clean = not (outcome.complaints or down or unwished or outcome.failed)
    return is_clean and (is_left_by_choice or not mentions)


def keeps_engine(made: Decision) -> bool:
    """Whether a unit is left with an engine of its own."""
    return made.goal in (Goal.UNTOUCHED, Goal.ORIGINAL) and made.reason not in HARMLESS


def planned(made: Decision) -> str:
    """Say what would be done with a service."""
    if made.goal is Goal.CLIENT and made.text:
        return f"{made.unit}: would be made a client, by this drop-in\n\n{made.text}"
    if made.goal is Goal.STOPPED:
        return f"{made.unit}: would be stopped and disabled"
    if made.goal is Goal.ORIGINAL:
        return f"{made.unit}: would be put back as it was ({made.why})"
    return f"{made.unit}: stays as it is ({made.why or 'its drop-in is to be proven'})"
