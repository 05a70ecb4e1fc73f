"""The simulated engine under the name and with the flags of NVIDIA's nv-hostengine.

The package dcgm-simulator installs it as /usr/bin/nv-hostengine. What to simulate
comes from the environment, since NVIDIA's units leave no room for flags:
DCGM_SIMULATOR_SCENARIO and DCGM_SIMULATOR_VERSION.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dcgm_simulator import SCENARIOS
from dcgm_simulator.host import Host
from dcgm_simulator.server import Server
from dcgm_simulator.versions import ALL_VERSIONS, VERSIONS

PID_FILE = Path("/var/run/nvhostengine.pid")
LOUD = (
    "This is NOT NVIDIA's nv-hostengine. It is the package dcgm-simulator: every GPU and every"
    " number is INVENTED."
)


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run the engine and return the exit status."""
    options = parser().parse_args(arguments)
    if options.term:
        return terminate(options.pid)
    scenario = environ.get("DCGM_SIMULATOR_SCENARIO", "h100x8")
    version = environ.get("DCGM_SIMULATOR_VERSION", VERSIONS[-1])
    if scenario not in SCENARIOS or version not in ALL_VERSIONS:
        return complain(f"there is no scenario {scenario} of DCGM {version}")
    server = Server(Host(scenario, version))
    server.catch_signals()
    host = "0.0.0.0" if options.bind_interface == "ALL" else options.bind_interface
    # NVIDIA's engine disables TCP then; this one keeps it, on a port that nobody knows.
    port = options.port if options.domain_socket is None else 0
    try:
        names = server.listen(host, port, options.domain_socket)
    except OSError as error:
        return complain(f"cannot listen on {host}:{port}: {error.strerror}")
    if not options.no_daemon and not daemonize(options.pid):
        return 0
    write_log(options.log_filename, f"{LOUD} Scenario {scenario}, DCGM {version}, at {names[-1]}.")
    server.run(None)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser; flags that mean nothing in a simulation are accepted and ignored."""
    flags = argparse.ArgumentParser(prog="nv-hostengine", description=LOUD)
    flags.add_argument("-p", "--port", type=int, default=5555)
    flags.add_argument("-b", "--bind-interface", default="127.0.0.1", metavar="ADDRESS")
    flags.add_argument(
        "-d", "--domain-socket", nargs="?", type=Path, const=Path("/tmp/nv-hostengine")
    )
    flags.add_argument("-n", "--no-daemon", action="store_true", help="stay in the foreground")
    flags.add_argument("-t", "--term", action="store_true", help="end the running daemon")
    flags.add_argument("--pid", type=Path, default=PID_FILE, help="default: %(default)s")
    flags.add_argument("-f", "--log-filename", default="-", help="default: standard output")
    flags.add_argument("--log-rotate", action="store_true", help="ignored")
    for ignored in ("log-level", "denylist-modules", "service-account", "home-dir"):
        flags.add_argument(f"--{ignored}", help="ignored")
    flags.add_argument(
        "--version", action="version", version=f"Version : {VERSIONS[-1]} (simulated)"
    )
    return flags


def terminate(pid_file: Path) -> int:
    """Terminate the daemon whose process id is in ``pid_file``."""
    try:
        os.kill(int(pid_file.read_text()), signal.SIGTERM)
    except (OSError, ValueError):
        return complain("no nv-hostengine is running as a daemon")
    pid_file.unlink(missing_ok=True)
    return 0


def daemonize(pid_file: Path) -> bool:
    """Fork into the background; return whether this is the process that continues."""
    child = os.fork()
    if child:
        pid_file.write_text(f"{child}\n")
        return False
    os.setsid()
    return True


def write_log(name: str, line: str) -> None:
    """Write a line to the log file, or to standard output when it is ``-``."""
    if name == "-":
        print(line, flush=True)
        return
    with Path(name).open("a", encoding="utf-8") as log:
        log.write(f"{line}\n")


def complain(what: str) -> int:
    """Print what is wrong, and return the exit status."""
    print(f"nv-hostengine (simulated): {what}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
