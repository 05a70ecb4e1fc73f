"""Fuzz: ``python -m tests.fuzz [--seconds 60] [TARGET...]``; make fuzz makes what it needs."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from tests.fuzz import catalogue

# The exporter must not be imported before a target's process has instrumented it.
REPOSITORY = Path(__file__).resolve().parents[2]
CORPUS = REPOSITORY / "build" / "fuzz"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all without any")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.targets) - set(catalogue.names()):
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(catalogue.names())}")
    if options.in_process:
        _fuzz_here(options.targets[0], options.seconds)
    chosen = options.targets or catalogue.names()
    broken = [name for name in chosen if not _fuzz(name, options.seconds)]
    return 1 if broken else 0


def _fuzz(name: str, seconds: int) -> bool:
    """Fuzz one target in its own process, and report how it went."""
    command = [sys.executable, "-m", "tests.fuzz", "--in-process", name, f"--seconds={seconds}"]
    done = subprocess.run(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, check=False)
    ran = re.search(r"Done (\d+) runs in (\d+)", done.stderr)
    if done.returncode == 0 and ran:
        covered = re.findall(r"cov: (\d+)", done.stderr)
        kept = len(list((CORPUS / name).glob("*")))
        print(f"{name}: {ran[1]} inputs in {ran[2]} s, {covered[-1]} edges, {kept} kept; all held")
        return True
    print(f"{name} BROKE:", done.stderr[-4000:], sep="\n")
    return False


def _fuzz_here(name: str, seconds: int) -> None:
    """Fuzz one target for some seconds, then end the process."""
    import atheris  # its process alone has it

    with atheris.instrument_imports(include=["do_dcgm_exporter", "tests.fuzz.targets"]):
        target = catalogue.target(name)
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    arguments = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        "-max_len=4096",
        "-timeout=20",
        "-rss_limit_mb=1024",
        f"-artifact_prefix={CORPUS / name}-",
        str(corpus),
        *map(str, [catalogue.SEEDS / name] if Path(catalogue.SEEDS / name).is_dir() else []),
    ]
    atheris.Setup(arguments, target)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
