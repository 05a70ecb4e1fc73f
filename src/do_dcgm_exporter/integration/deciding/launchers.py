"""Programs that become another one: env(1), nice(1), taskset(1) and their like."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from getopt import GetoptError, getopt

from do_dcgm_exporter.integration.deciding.shell import Call, NotUnderstood
from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE

# Short and long options as getopt(3) has them, and how many operands precede the command.
# Options that do something else (env -i, taskset -p, setsid -f) are left out on purpose.
_CHRT = "all-tasks batch fifo idle other rr reset-on-fork verbose sched-runtime= sched-period="
_NUMACTL = "all localalloc balancing interleave= membind= cpunodebind= physcpubind= preferred="
_LAUNCHERS: Mapping[str, tuple[str, str, int]] = {
    "chrt": ("abfiorRvT:P:D:", f"{_CHRT} sched-deadline=", 1),
    "env": ("vu:", "debug unset=", 0),
    "exec": ("a:", "", 0),
    "ionice": ("tc:n:", "ignore class= classdata=", 0),
    "nice": ("n:0123456789", "adjustment=", 0),
    "nohup": ("", "", 0),
    "numactl": ("albi:m:N:C:p:P:", f"{_NUMACTL} preferred-many=", 0),
    "setsid": ("cw", "ctty wait", 0),
    "stdbuf": ("i:o:e:", "input= output= error=", 0),
    "taskset": ("ac", "all-tasks cpu-list", 1),
}


def without_launchers(call: Call) -> Call:
    """Return the command that launchers end in.

    Raises NotUnderstood where one does more than to become the command.
    """
    rest, environment = list(call.words), dict(call.environment)
    while rest and (name := os.path.basename(rest[0])) in _LAUNCHERS:
        short, long, operands = _LAUNCHERS[name]
        try:
            options, rest = getopt(rest[1:], short, long.split())
        except GetoptError as error:
            raise NotUnderstood(f"{name}: {error}") from error
        rest = rest[operands:]
        for option, value in options:
            if option in ("-u", "--unset"):
                if value == REMOTE_VARIABLE:
                    raise NotUnderstood(f"{name} {option}")  # what we set would not reach it
                environment.pop(value, None)
        while name == "env" and rest and "=" in rest[0]:
            variable, _, value = rest.pop(0).partition("=")
            environment[variable] = value
    if not rest:
        raise NotUnderstood("a launcher without a command")
    return replace(call, words=tuple(rest), environment=environment)
