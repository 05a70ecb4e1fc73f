"""The alerts of examples/prometheus: each is seen to fire, and none fires on a healthy machine.

A real Prometheus evaluates a copy of the rules without their waiting times, while a real
exporter reads a simulated engine in which things go wrong. What the waiting times and
thresholds do is told by data/alerts-test.yml, promtool's own kind of test.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest
import yaml
from tests.e2e.conftest import Stage
from tests.e2e.endpoint import Endpoint, answering
from tests.e2e.exporter import ROOT, Exporter, command_after
from tests.e2e.prometheus import Prometheus, needs_prometheus, promtool
from tests.waiting import wait_until
from tools.dashboards.generations import in_names_of_49

import dcgm_simulator
from dcgm_simulator.process import SimulatedEngine
from do_dcgm_exporter.dcgm.conversions import conversion_to
from do_dcgm_exporter.dcgm.fields import field_by_name

EXAMPLES = ROOT / "examples" / "prometheus"
ALERTS = EXAMPLES / "alerts.yml"
RECORDING_RULES = EXAMPLES / "recording-rules.yml"
DATA = Path(__file__).parent / "data"

pytestmark = needs_prometheus

RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load(ALERTS.read_text())["groups"]
    for rule in group["rules"]
}
RECORDED = [
    rule["record"]
    for group in yaml.safe_load(RECORDING_RULES.read_text())["groups"]
    for rule in group["rules"]
]

CONFIG = """\
global: {scrape_interval: 5s, scrape_timeout: 5s, evaluation_interval: 1s}
rule_files: [alerts.yml, recording-rules.yml]
scrape_configs:
"""
# Cycles of eight exporters and their scrapes, none of which may be late on a busy machine.
INTERVAL = 5000  # milliseconds
TARGET = '- {job_name: %s, static_configs: [{targets: ["127.0.0.1:%d"]}]}\n'

# What is made to go wrong on the machine "broken", and on which GPU or switch that shows.
FAULTS = {
    "GpuXidCritical": ("xid --gpu 0 48", {"gpu": "0", "xid": "48"}),
    "GpuXidWarning": ("xid --gpu 1 94", {"gpu": "1", "xid": "94"}),
    "GpuXidApplication": ("xid --gpu 2 13", {"gpu": "2", "xid": "13"}),
    "GpuEccUncorrectable": ("set --entity gpu:1 311 2", {"gpu": "1"}),
    "GpuRowRemapFailure": ("set --entity gpu:2 395 1", {"gpu": "2"}),
    "GpuRowsRemapped": ("set --entity gpu:3 393 1", {"gpu": "3"}),
    "GpuThermalThrottling": ("set --entity gpu:3 112 0x40", {"gpu": "3"}),
    "GpuTemperatureNearLimit": ("set --entity gpu:4 150 86", {"gpu": "4"}),
    "GpuPowerBrake": ("set --entity gpu:4 112 0x80", {"gpu": "4"}),
    "GpuPowerThrottling": (f"set --entity gpu:5 240 {10**12}", {"gpu": "5"}),
    "GpuPowerPeak": ("set --entity gpu:1 155 800", {"gpu": "1"}),
    "NvLinkErrors": ("set --entity gpu:5 439 5", {"gpu": "5"}),
    "NvLinkDown": ("nvlink --gpu 6 --link 3 down", {"gpu": "6"}),
    "GpuIdleButMemoryHeld": ("set --entity gpu:6 1001 0; set --entity gpu:6 203 0", {"gpu": "6"}),
    "NvSwitchFatalError": ("set --entity switch:1 856 20034", {"nvswitch": "nvswitch1"}),
    "FabricNotReady": ("set --entity gpu:0 170 4", {"gpu": "0"}),
    "GpuLost": ("lose-gpu 7", {"gpu": "7"}),
}
# What goes wrong on other machines, or with the exporter itself, and where.
OTHERS = {
    "GpuMissing": ("shrinking", {}),
    "DcgmExporterDown": ("down", {}),
    "DcgmExporterBlind": ("blind", {}),
    "DcgmExporterStale": ("stale", {}),
    "DcgmCollectorFailing": ("stale", {"collector": "nvlink"}),
    "DcgmExporterReloadFailed": ("broken", {}),
    "DcgmSecondEngine": ("beside", {}),
    "DcgmForwardingFailing": ("shrinking", {}),
}
EXPECTED = {alert: ("broken", labels) for alert, (_, labels) in FAULTS.items()} | OTHERS


def without_waiting(rules: str) -> str:
    """The rules as they are, but that they fire at once and call 40 seconds stale."""
    hasty, count = re.subn(r"(?m)^    for: \w+\n", "", rules)
    assert count == sum("for" in rule for rule in RULES.values())
    assert "> 300\n" in hasty
    return hasty.replace("> 300\n", "> 40\n")


@dataclass
class Fleet:
    """A machine for every way to fail, and the Prometheus that watches them."""

    engines: dict[str, SimulatedEngine]
    exporters: dict[str, Exporter]
    prometheus: Prometheus

    def fires(self, alert: str, job: str, labels: dict[str, str]) -> bool:
        """Whether an alert fires for that machine with these labels."""
        wanted = {"job": job} | labels
        return any(wanted.items() <= found.items() for found in self.prometheus.firing(alert))


def broken_bindings(directory: Path) -> Path:
    """Bindings in which asking for the state of the NVLinks is an error in the program."""
    shutil.copytree(dcgm_simulator.bindings_directory(), directory)
    with (directory / "dcgm_agent.py").open("a") as module:
        module.write("\n\ndef dcgmGetNvLinkLinkStatus(*_):\n    raise RuntimeError('broken')\n")
    return directory


def with_report(directory: Path, processes: int) -> tuple[str, ...]:
    """The command of an exporter that reads a report of its own of embedded DCGMs.

    All others read the machine's, whose place is no option.
    """
    directory.mkdir()
    found = [{"pid": pid, "command": "agent", "of": "agent.service"} for pid in range(processes)]
    report = directory / "report.json"
    report.write_text(json.dumps({"time": time.time(), "processes": found}))
    return command_after(
        "import pathlib\nfrom do_dcgm_exporter.page.embedded_dcgm import EmbeddedDcgm\n"
        f"EmbeddedDcgm.__init__.__defaults__ = (pathlib.Path({str(report)!r}),)\n"
    )


@pytest.fixture(scope="module")
def failing_endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        endpoint.behaviour = answering("500 Oops")
        yield endpoint


def rules_and_targets(directory: Path, exporters: dict[str, Exporter]) -> tuple[Path, str]:
    """Put the rules into a directory; return it and a configuration that scrapes exporters."""
    (directory / "alerts.yml").write_text(without_waiting(ALERTS.read_text()))
    shutil.copy(RECORDING_RULES, directory)
    return directory, CONFIG + "".join(TARGET % (name, e.port) for name, e in exporters.items())


@pytest.fixture(scope="module")
def fleet(
    shared_stage: Stage, failing_endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """All machines, with nothing wrong but what is wrong from the start."""
    stage = shared_stage
    scenarios = {"broken": "hgx", "healthy": "h100x8-mig", "shrinking": "h100x8"}
    # Values stand still, since one that wanders to 0 would look like an idle GPU.
    engines = {name: stage.engine(scenario, still=True) for name, scenario in scenarios.items()}
    peaks = stage.directory / "peaks.csv"
    peaks.write_text("DCGM_FI_DEV_POWER_USAGE_MAX, gauge, Highest power.\n")
    posting = {"forward": "true", "forward_url": failing_endpoint.url, "forward_interval": 1000}
    exporters = {
        name: stage.exporter(
            engine,
            collect_interval=INTERVAL,
            collectors=peaks,
            **(posting if name == "shrinking" else {}),
        )
        for name, engine in engines.items()
    }
    nobody = "127.0.0.1:1"
    exporters |= {"blind": stage.exporter(nobody), "down": stage.exporter(nobody)}
    # One cycle, and then none for ten minutes.
    exporters["stale"] = stage.exporter(
        engines["healthy"],
        collect_interval=600_000,
        dcgm_bindings=broken_bindings(stage.directory / "bindings"),
    )
    exporters["beside"] = stage.exporter(
        engines["healthy"],
        collect_interval=INTERVAL,
        command=with_report(stage.directory / "beside", 2),
    )
    for name in (*scenarios, "stale", "beside"):
        exporters[name].wait_until_up()

    directory, config = rules_and_targets(tmp_path_factory.mktemp("prometheus"), exporters)
    with Prometheus(directory, config) as prometheus:
        fleet = Fleet(engines, exporters, prometheus)
        wait_until(lambda: prometheus.scrapes(len(exporters)), "all are scraped")
        yield fleet
    # The traceback in its log is from the planted bug.
    exporters["stale"].log_path.write_text("")


@pytest.fixture(scope="module")
def broken(fleet: Fleet) -> Iterator[Fleet]:
    """The same after all faults were injected; before, nothing is wrong there."""
    wait_until(lambda: fleet.prometheus.query(f'{RECORDED[-1]}{{job="broken"}}'), "rules have run")
    assert fleet.prometheus.query('ALERTS{job=~"broken|healthy"}') == []
    for command, _ in FAULTS.values():
        for part in command.split("; "):
            fleet.engines["broken"].control(*part.split())
    fleet.exporters["broken"].reload(stale_after="nonsense")
    port = fleet.engines["shrinking"].port
    fleet.engines["shrinking"].kill()
    fleet.exporters["down"].stop()
    with SimulatedEngine.start("h100x1", port=port):
        yield fleet


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_fires_for_what_it_is_about(broken: Fleet, alert: str) -> None:
    job, labels = EXPECTED[alert]
    wait_until(lambda: broken.fires(alert, job, labels), f"{alert} fires for {labels} of {job}")


def test_an_alert_fires_for_nothing_else(broken: Fleet) -> None:
    """One fault, one alert, under MIG as well."""
    for alert, (_, labels) in FAULTS.items():
        (found,) = wait_until(partial(broken.prometheus.firing, alert), f"{alert} fires")
        assert labels.items() <= found.items()


def test_no_alert_was_even_pending_on_a_healthy_machine(broken: Fleet) -> None:
    assert broken.prometheus.query('count_over_time(ALERTS{job="healthy"}[1h])') == []


@pytest.mark.parametrize("record", RECORDED)
def test_a_recording_rule_has_a_value_for_every_machine(fleet: Fleet, record: str) -> None:
    """Under MIG, too, there is one per GPU, or one per host."""
    expected = 8 if record.startswith("gpu:") else 1

    def count() -> int:
        return len(fleet.prometheus.query(f'{record}{{job="healthy"}}'))

    wait_until(lambda: count() == expected, f"{expected} series of {record}")


def test_prometheus_evaluates_all_rules_without_an_error(broken: Fleet) -> None:
    rules = [rule for group in broken.prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == len(RULES) + len(RECORDED)
    assert [rule["lastError"] for rule in rules if rule["health"] != "ok"] == []


@pytest.mark.parametrize("name", ["alerts-test.yml", "recording-rules-test.yml"])
def test_promtool_tests_the_rules(name: str) -> None:
    promtool("test", "rules", DATA / name)


@pytest.mark.parametrize("name", ["alerts-test.yml", "recording-rules-test.yml"])
def test_the_rules_of_the_new_names_do_the_same(name: str, tmp_path: Path) -> None:
    """The same series, in the units of 4.9."""
    text = (DATA / name).read_text()
    old, new = yaml.safe_load(text), yaml.safe_load(in_names_of_49(text))
    (rules,) = new["rule_files"]
    new["rule_files"] = [str((DATA / rules.replace(".yml", "-4.9.yml")).resolve())]
    converted = 0
    for before, after in zip(old["tests"], new["tests"], strict=True):
        for series, renamed in zip(before["input_series"], after["input_series"], strict=True):
            field = field_by_name(series["series"].partition("{")[0])
            conversion = conversion_to(field.id) if field else None
            if conversion:
                renamed["values"] = scaled(series["values"], 1 / conversion.factor)
                converted += 1
    assert converted > 3
    (tmp_path / name).write_text(yaml.safe_dump(new))
    promtool("test", "rules", tmp_path / name)


def scaled(values: str, factor: Fraction) -> str:
    """Values as promtool writes them (``0+6000x10 5``), times a factor."""
    return re.sub(r"(?<![x\d.])[\d.]+", lambda one: repr(float(Fraction(one[0]) * factor)), values)


def test_promtool_finds_the_rules_well_formed() -> None:
    of_49 = [path.with_name(f"{path.stem}-4.9.yml") for path in (ALERTS, RECORDING_RULES)]
    promtool("check", "rules", "--lint-fatal", ALERTS, RECORDING_RULES)
    promtool("check", "rules", "--lint-fatal", *of_49)
