"""What the status page costs: ``.venv/bin/python -m tests.bench.status_page``."""

from __future__ import annotations

import gzip
import logging
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.droplet import Droplet, droplet

from do_dcgm_exporter.collect.machine import machine_state
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.page.history import History, column_of
from do_dcgm_exporter.serve.status_page.document import document

_ROUNDS = 200
_QUARTER_OF_AN_HOUR = 920.0

# Name, scenario, how many GPUs are cut into seven instances.
_MACHINES = (("1 GPU", "h100x1", 0), ("8 GPUs", "h100x8", 0), ("56 MIG", "h100x8", 8))


@dataclass(frozen=True)
class Cost:
    """Milliseconds of CPU, and bytes."""

    drawing: float
    drawing_at_most: float
    keeping: float
    size: int
    compressed: int
    history: int


def main() -> None:
    """Measure, and print the table."""
    logging.disable(logging.WARNING)  # that the values are simulated is known
    print(f"medians of {_ROUNDS} times, Python {sys.version.split()[0]}")
    print("          drawing ms  at most  in each cycle ms      kB  gzip kB  history kB")
    for name, scenario, cut in _MACHINES:
        with droplet(scenario) as measured:
            for gpu in range(cut):
                measured.control("mig", "--gpu", str(gpu), ",".join(["1g.10gb"] * 7))
            measured.run(_QUARTER_OF_AN_HOUR)
            cost = _cost(measured)
        print(
            f"{name:8}  {cost.drawing:10.2f}  {cost.drawing_at_most:7.2f}  {cost.keeping:16.3f}"
            f"  {cost.size / 1000:6.1f}  {cost.compressed / 1000:7.1f}  {cost.history / 1000:10.1f}"
        )


def _cost(of: Droplet) -> Cost:
    view = of.page.view()
    drawing = _milliseconds(lambda: document(of.page.view(), is_live=True))
    session = of.agent._session
    assert session is not None
    readings = Readings(of.unix_time(), of.settings.stale_after, session.ages)
    session._fill(readings)

    def keep() -> None:
        column_of(machine_state(session.roster, readings, session.xids.log.newest(10)))

    html = document(view, is_live=True).encode()
    return Cost(
        drawing=statistics.median(drawing),
        drawing_at_most=max(drawing),
        keeping=statistics.median(_milliseconds(keep)),
        size=len(html),
        compressed=len(gzip.compress(html, 1)),
        history=_bytes_of(view.status.history),
    )


def _milliseconds(work: Callable[[], object]) -> list[float]:
    taken = []
    for _ in range(_ROUNDS):
        started = time.process_time()
        work()
        taken.append(1e3 * (time.process_time() - started))
    return taken


def _bytes_of(history: History) -> int:
    """The memory of the history: columns, times and percentages; devices belong to the topology."""
    each = (sys.getsizeof(c) + sys.getsizeof(c.at) + sys.getsizeof(c.percentages) for c in history)
    return sys.getsizeof(history) + sum(each)


if __name__ == "__main__":
    main()
