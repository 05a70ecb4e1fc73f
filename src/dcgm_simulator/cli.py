"""The command line of the simulator."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from dcgm_simulator import ALL_VERSIONS, SCENARIOS, VERSIONS
from dcgm_simulator.commands import add_commands
from dcgm_simulator.host import Host, now_in_microseconds, standing_clock
from dcgm_simulator.process import ControlFailed, send_control
from dcgm_simulator.recording import BadRecording, read_recording
from dcgm_simulator.server import Server
from dcgm_simulator.timeline import BadTimeline, read_timeline

DESCRIPTION = """\
A simulated NVIDIA DCGM engine, for trying dashboards and exporters on a machine
without a GPU. Every number is invented; model names end in "(simulated)".
"""

EXAMPLES = """\
examples:
  dcgm-simulator                                 eight H100 on 127.0.0.1:5555
  dcgm-simulator --scenario hgx --port 0         NvSwitches too, on any free port
  dcgm-simulator --dcgm-version 3.3.9            as an older DCGM behaves
  dcgm-simulator control --help                  how to make things go wrong

scenarios:
"""

CONTROL_EXAMPLES = """\
examples, each after `dcgm-simulator control --address 127.0.0.1:5555`:
  xid --gpu 0 79                           GPU 0 reports XID 79
  xid --gpu-instance 7 13                  an instance of GPU 1 reports XID 13
  set --entity gpu:0 150 95                GPU 0 is 95 degrees hot, until...
  set --entity gpu:0 150 unset             ...it may cool down
  set --entity gpu:1 DCGM_FI_DEV_FAN_SPEED not-supported
  set --entity gpu:1 155 status:-14        the value has status -14, no data
  lose-gpu 3                               GPU 3 falls off the bus
  job --gpu 0 end                          GPU 0 is idle, until `job --gpu 0 begin`
  mig --gpu 0 3g.40gb,2g.20gb,1g.10gb      GPU 0 is cut into instances
  mig --gpu 0 off                          and made whole again
  nvlink --gpu 0 --link 3 down             an NvLink of GPU 0 goes down
  hang                                     the engine does not answer until `resume`
  health --entity gpu:2 --system 16 fail --message "DBE detected"
  status                                   who is connected and watches what, as JSON
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["control"]:
        return control(control_parser().parse_args(given[1:]))
    return serve(serve_parser().parse_args(given[1:] if given[:1] == ["serve"] else given))


def serve_parser() -> argparse.ArgumentParser:
    """Return the parser of `serve`, which is also the default."""
    listed = "\n".join(f"  {name:14} {text}" for name, text in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="dcgm-simulator [serve]",
        description=DESCRIPTION,
        epilog=EXAMPLES + listed,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    machine = parser.add_mutually_exclusive_group()
    machine.add_argument("--scenario", choices=SCENARIOS, default="h100x8", help="default: h100x8")
    machine.add_argument(
        "--recording",
        type=Path,
        metavar="FILE",
        help="answer as the machine did of which `do-dcgm-exporter --once --record FILE` was made",
    )
    parser.add_argument(
        "--dcgm-version",
        choices=ALL_VERSIONS,
        help=f"the release to imitate; default: the recording's, else {VERSIONS[-1]}",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on, default: 127.0.0.1"
    )
    parser.add_argument("--port", type=int, default=5555, help="default: 5555; 0 is any free one")
    parser.add_argument(
        "--domain-socket", type=Path, metavar="PATH", help="listen on this socket as well"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="the same seed gives the same numbers and identities, others give others",
    )
    parser.add_argument(
        "--timeline",
        type=Path,
        metavar="FILE",
        help="carry out control commands by time, one a line: at 60s lose-gpu 3",
    )
    parser.add_argument(
        "--still",
        action="store_true",
        help="values stand still, so that pages can be compared; time goes on",
    )
    parser.add_argument(
        "--manual-clock",
        action="store_true",
        help="time passes only by the control command pass-time",
    )
    parser.add_argument("--until-eof", action="store_true", help="exit when standard input ends")
    return parser


def serve(options: argparse.Namespace) -> int:
    """Serve until a signal arrives; return 1 if the address cannot be used."""
    try:
        recording = read_recording(options.recording) if options.recording else None
    except BadRecording as error:
        return fail(str(error))
    version = options.dcgm_version or (recording.version if recording else VERSIONS[-1])
    server = Server(
        Host(
            options.scenario,
            version,
            options.seed,
            standing_clock() if options.manual_clock else now_in_microseconds,
            still=options.still,
            recording=recording,
        )
    )
    if options.timeline:
        try:
            server.follow(read_timeline(options.timeline), fail)
        except BadTimeline as error:
            return fail(str(error))
    server.catch_signals()
    try:
        names = server.listen(options.host, options.port, options.domain_socket)
    except OSError as error:
        where = f"{options.host}:{options.port}"
        return fail(f"cannot listen on {where}: {error.strerror}")
    scenario = options.recording or f"scenario {options.scenario}"
    what = f"{scenario}, DCGM {version}"
    where = " and ".join(names)
    say(f"dcgm-simulator: SIMULATED engine, {what}, listening on {where}")
    server.run(sys.stdin.fileno() if options.until_eof else None)
    return 0


def say(text: str) -> None:
    """Write a line to standard output without buffering; somebody may be waiting for it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def fail(text: str) -> int:
    """Print an error in one line, and return the exit status."""
    sys.stderr.write(f"dcgm-simulator: {text}\n")
    return 1


# --- control -----------------------------------------------------------------------------


def control_parser() -> argparse.ArgumentParser:
    """Return the parser of `control`."""
    parser = argparse.ArgumentParser(
        prog="dcgm-simulator control",
        description="Make a running simulated engine misbehave, or ask what it does.",
        epilog=CONTROL_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--address", default="127.0.0.1:5555", help="of the engine: HOST:PORT or its domain socket"
    )
    add_commands(parser)
    return parser


def control(options: argparse.Namespace) -> int:
    """Send one command and print its result, if it has one."""
    arguments = vars(options)
    address, name = arguments.pop("address"), arguments.pop("command")
    try:
        result = send_control(address, name, arguments)
    except ControlFailed as error:
        return fail(str(error))
    if result is not None:
        say(json.dumps(result, indent=2))
    return 0
