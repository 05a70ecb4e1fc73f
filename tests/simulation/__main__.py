"""Run schedules: ``python -m tests.simulation --help``."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time

from tests.simulation.world import Outcome, run


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one and print its trace")
    parser.add_argument("--seeds", type=int, default=1000, help="how many to run (1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes to use")
    options = parser.parse_args()
    if options.seed is not None:
        outcome = run(options.seed)
        print(*outcome.trace, sep="\n")
        return _told([outcome])
    return _run_many(range(options.first, options.first + options.seeds), options.jobs)


def _run_many(seeds: range, jobs: int) -> int:
    started = time.monotonic()
    failed = []
    with multiprocessing.Pool(jobs) as pool:
        for done, outcome in enumerate(pool.imap_unordered(_run_quietly, seeds, 10), 1):
            if outcome.failure:
                failed.append(outcome)
                _told([outcome])
            if done % 1000 == 0:
                print(f"{done} schedules, {len(failed)} failed", file=sys.stderr)
    seconds = time.monotonic() - started
    print(
        f"{len(seeds)} schedules from seed {seeds.start}, {len(failed)} failed; "
        f"{seconds:.0f} s, {1000 * seconds * jobs / len(seeds):.0f} ms of a process each"
    )
    return 1 if failed else 0


def _run_quietly(seed: int) -> Outcome:
    outcome = run(seed)
    return Outcome(outcome.seed, outcome.failure, [])


def _told(outcomes: list[Outcome]) -> int:
    failed = [outcome for outcome in outcomes if outcome.failure]
    for outcome in failed:
        print(f"seed {outcome.seed}: {outcome.failure}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
