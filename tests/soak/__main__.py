"""Make faults happen on real processes and print what held: ``python -m tests.soak --help``."""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys
import time

from tests.soak import faults as making
from tests.soak.day import CYCLES_OF_A_DAY, Day
from tests.soak.promises import Promise, table
from tests.soak.scraper import Scraper
from tests.soak.stage import staged

# Seconds of scrapes without faults, to compare with.
_CALM = 10.0


def main() -> int:
    """Run the command."""
    options = _options()
    started = time.monotonic()
    promises: list[Promise] = []
    if options.kills + options.hangs + options.outages + options.reloads:
        promises += _faults(options)
    if options.cycles:
        promises += _day(options)
    print(
        f"measured for {(time.monotonic() - started) / 60:.1f} minutes on {os.cpu_count()} cores"
        f" of {_processor()}, Python {platform.python_version()}, seed {options.seed}",
        "",
        *table(promises),
        sep="\n",
    )
    judged = [row for row in promises if not (options.untimed and row.is_timed)]
    return 0 if all(promise.holds for promise in judged) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="of the engine (200)")
    parser.add_argument("--hangs", type=int, default=50, help="of the engine (50)")
    parser.add_argument("--outages", type=int, default=50, help="of the endpoint (50)")
    parser.add_argument("--reloads", type=int, default=100, help="half of them bad (100)")
    parser.add_argument(
        "--cycles", type=int, default=CYCLES_OF_A_DAY, help=f"of a day ({CYCLES_OF_A_DAY})"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the order of faults (0)")
    parser.add_argument(
        "--untimed", action="store_true", help="fail for no time and no slope, however busy it is"
    )
    return parser.parse_args()


def _faults(options: argparse.Namespace) -> list[Promise]:
    counts = making.Counts(options.kills, options.hangs, options.outages, options.reloads)
    with staged(interval_ms=1000) as stage:
        exporter = stage.exporter
        with Scraper(exporter.process.pid, exporter.port) as scraper:
            time.sleep(_CALM)
            before = stage.usage()
            made = making.Faults(stage, random.Random(options.seed))
            made.run(counts, _say)
            exporter.wait_for_cycles(3)
            lives = exporter.is_running
            after = stage.usage() if lives else before
            found = scraper.end()
        rows = making.promises(made, found, before, after, lives)
        exporter.close()
    return rows


def _day(options: argparse.Namespace) -> list[Promise]:
    with staged(interval_ms=100) as stage:
        exporter = stage.exporter
        with Scraper(exporter.process.pid, exporter.port, pause=0.5) as scraper:
            day = Day(stage)
            day.run(options.cycles, _say)
            found = scraper.end()
        exporter.close()
    return day.promises(found)


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as told:
        for line in told:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _say(what: str) -> None:
    print(what, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
