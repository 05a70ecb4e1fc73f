"""Replace the process by a new one of itself, under the same process id.

A library that is loaded cannot be exchanged: the dynamic linker knows it by its path, and its
threads go on running.
"""

from __future__ import annotations

import os
import sys


def begin_anew() -> None:
    """Execute our own command line once more. Raises OSError.

    All threads end at once and every connection is closed. systemd sees neither an exit nor
    another main process, so no restart is counted.
    """
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
