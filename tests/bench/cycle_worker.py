"""Run cycles without a server, and report what they cost; started by ``cycles.py``.

Each line on standard input is a number of seconds or, with an ``n``, of cycles to run; the
answer is a line of JSON. The program is not changed: its public functions are wrapped from
here, and those missing in a revision are not timed.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import types
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.bench.stopwatch import Stopwatch
from tests.bench.subject import resident_megabytes

from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.session import Session
from do_dcgm_exporter.config.counters import read_counter_set
from do_dcgm_exporter.config.load import load_settings
from do_dcgm_exporter.config.settings import Configuration
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.page import publisher as publisher_module
from do_dcgm_exporter.page.forwarding import ForwardStatistics
from do_dcgm_exporter.page.own_metrics import Telemetry, TelemetryRegistry
from do_dcgm_exporter.page.publication import Body
from do_dcgm_exporter.page.publisher import Publisher
from do_dcgm_exporter.service import agent as agent_module
from do_dcgm_exporter.service.agent import Agent

ENGINE_CALLS, DECODING, BUILDING = "engine calls", "decoding", "building"
OWN, RENDERING, REST = "own metrics", "rendering", "the rest"

_WARM_CYCLES = 20


def main() -> None:
    """Connect, wait for profiling values, then handle commands."""
    logging.disable(logging.WARNING)  # that the values are simulated is known
    watch = Stopwatch()
    _wrap(watch)
    settings = load_settings(sys.argv[1:], {})
    configuration = Configuration(
        settings, read_counter_set(settings.default_counters, settings.collectors)
    )
    calls = CallCount()
    publisher = Publisher(Telemetry(calls, ForwardStatistics()))
    agent = Agent(configuration, publisher, calls)
    cycle = watch.timed(REST, agent.cycle)
    while b"\nDCGM_FI_PROF_" not in publisher.publication.page.text.plain:
        cycle()
        time.sleep(0.2)
    for _ in range(_WARM_CYCLES):
        cycle()
    for line in sys.stdin:
        told = _run(line.strip(), cycle, watch, calls)
        told |= _page(publisher.publication.page.text.plain)
        print(json.dumps(told), flush=True)


def _wrap(watch: Stopwatch) -> None:
    load = agent_module.load_bindings

    def load_timed(*arguments: Any) -> Any:
        bindings = load(*arguments)
        agent = types.SimpleNamespace(
            **{
                name: watch.timed(ENGINE_CALLS, value)
                if name.startswith("dcgm") and isinstance(value, types.FunctionType)
                else value
                for name, value in vars(bindings.agent).items()
            }
        )
        structs = types.SimpleNamespace(**vars(bindings.structs))
        look_up = structs._dcgmGetFunctionPointer
        structs._dcgmGetFunctionPointer = lambda name: watch.timed(ENGINE_CALLS, look_up(name))
        return replace(bindings, agent=agent, structs=structs)

    agent_module.load_bindings = load_timed
    watch.time_attribute(DECODING, Readings, "add")
    watch.time_attribute(DECODING, Session, "is_outdated")
    watch.time_attribute(BUILDING, Session, "read")
    watch.time_attribute(OWN, TelemetryRegistry, "families")
    watch.time_attribute(RENDERING, publisher_module, "render")


def _run(
    order: str, cycle: Callable[[], float], watch: Stopwatch, calls: CallCount
) -> dict[str, Any]:
    watch.reset()
    called = calls.calls
    number = int(order[:-1]) if order.endswith("n") else None
    end = time.perf_counter() + float(0 if number else order)
    cycles = 0
    while cycles < number if number else time.perf_counter() < end:
        cycle()
        cycles += 1
    return {
        "cycles": cycles,
        "wall": {name: seconds / cycles for name, seconds in watch.wall.items()},
        "cpu": {name: seconds / cycles for name, seconds in watch.cpu.items()},
        "calls": (calls.calls - called) / cycles,
        "resident": resident_megabytes("self"),
    }


def _page(text: bytes) -> dict[str, Any]:
    body = Body(text)
    started = time.process_time()
    compressed = body.compressed
    return {
        "compressing": time.process_time() - started,
        "samples": sum(1 for line in text.splitlines() if not line.startswith(b"#")),
        "bytes": len(text),
        "gzip_bytes": len(compressed),
    }


if __name__ == "__main__":
    main()
