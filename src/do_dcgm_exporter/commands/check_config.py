"""``--check-config``: the verdict for every line of the counters files."""

from __future__ import annotations

import sys
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from do_dcgm_exporter.commands.engine_check import EngineFindings, engine_findings
from do_dcgm_exporter.commands.output import write
from do_dcgm_exporter.commands.progress import Tell, progress
from do_dcgm_exporter.commands.terminal import Terminal, printable, table, terminal_of
from do_dcgm_exporter.config.addresses import DEFAULT_LISTEN_PORT
from do_dcgm_exporter.config.counters import CounterSet, Judgement, Verdict
from do_dcgm_exporter.config.settings import Configuration, ListenAddress
from do_dcgm_exporter.config.text_files import read_file
from do_dcgm_exporter.errors import ConfigurationError, ExporterError
from do_dcgm_exporter.serve.access.security import load_security

# People paste NVIDIA's whole CSV: what this machine or exporter lacks is not their mistake.
_MISTAKES = (Verdict.UNKNOWN, Verdict.MALFORMED)
_STYLES = {
    Verdict.OK: "green",
    Verdict.UNKNOWN: "red",
    Verdict.MALFORMED: "red",
    Verdict.UNSUPPORTED: "yellow",
    Verdict.DUPLICATE: "yellow",
}


@dataclass(frozen=True, slots=True)
class Report:
    """The judgements and the lines that sum them up."""

    judgements: tuple[Judgement, ...]
    conclusion: tuple[str, ...]

    @property
    def has_mistakes(self) -> bool:
        """Whether a line is wrong."""
        return any(judgement.verdict in _MISTAKES for judgement in self.judgements)

    def lines(self) -> str:
        """Format the report for a program: one line per counter."""
        return "".join(f"{line}\n" for line in (*self.judgements, *self.conclusion))

    def tables(self, terminal: Terminal) -> str:
        """Format the report for ``terminal``: a table per file."""
        style = "red" if self.has_mistakes else "green"
        files = groupby(self.judgements, key=lambda judgement: judgement.path)
        return "".join(
            (
                *(_table(terminal, path, list(judgements)) for path, judgements in files),
                *(f"{terminal.styled(line, style)}\n" for line in self.conclusion),
            )
        )


def run_check(configuration: Configuration) -> int:
    """Print the report; return the exit status, 2 if a line is a mistake.

    Raises ConfigurationError for settings that do for a test, but not for a service.
    """
    with progress() as tell:
        report = check(configuration, tell)
    terminal = terminal_of(sys.stdout)
    write(report.tables(terminal) if terminal else report.lines())
    return 2 if report.has_mistakes else 0


def check(configuration: Configuration, tell: Tell | None = None) -> Report:
    """Judge the configuration; ask the engine, if there is one, what its GPUs lack."""
    settings, counters = configuration
    _refuse_changing_port(settings.address)
    web_config = _web_config(settings.web_config_file)
    findings = EngineFindings()
    unchecked = []
    try:
        findings = engine_findings(configuration, tell)
    except ExporterError as error:
        unchecked = [f"not checked against a GPU: {error}"]
    judged = CounterSet(judgements=tuple(_with_engine(j, findings) for j in counters.judgements))
    return Report(judged.judgements, (_summary(judged.tally()), *unchecked, *web_config))


def _refuse_changing_port(address: ListenAddress) -> None:
    if address.port == 0:
        raise ConfigurationError(
            f"address: {address} means another port at each start, which Prometheus cannot"
            f" know; write for example :{DEFAULT_LISTEN_PORT}"
        )


def _web_config(path: Path | None) -> list[str]:
    """Summarize the web configuration; raises ConfigurationError if it is wrong."""
    if not path:
        return []
    security = load_security(path, read_file)
    return [f"{path}: {security}", *security.config.warnings]


def _with_engine(judgement: Judgement, findings: EngineFindings) -> Judgement:
    if judgement.verdict is not Verdict.OK:
        return judgement
    if reason := findings.unsupported.get(judgement.name):
        return replace(judgement, verdict=Verdict.UNSUPPORTED, message=reason)
    if remark := findings.computed.get(judgement.name):
        return replace(judgement, message=f"{judgement.message}; {remark}")
    return judgement


def _summary(tally: Tally[Verdict]) -> str:
    total = sum(tally.values())
    parts = ", ".join(f"{tally[verdict]} {verdict.value}" for verdict in Verdict if tally[verdict])
    return f"{total} line{'' if total == 1 else 's'}: {parts or 'no counters at all'}"


def _table(terminal: Terminal, path: Path, judgements: Sequence[Judgement]) -> str:
    """Return the verdict, the line, its name and the reason of each judgement."""
    rows = [
        (
            (judgement.verdict.value, _STYLES[judgement.verdict]),
            (str(judgement.line), "dim"),
            (printable(judgement.name[:60]), ""),
            (judgement.message, "dim" if judgement.verdict is Verdict.OK else ""),
        )
        for judgement in judgements
    ]
    return f"{terminal.styled(str(path), 'bold')}\n{table(terminal, rows)}\n"
