"""Tables and colours for a terminal."""

from __future__ import annotations

import io

from do_dcgm_exporter.commands.progress import progress
from do_dcgm_exporter.commands.terminal import Terminal, flowed, printable, table, terminal_of

PLAIN = Terminal(width=40)


class Screen(io.StringIO):
    """A stream with a person before it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_columns_are_aligned_by_what_is_seen_of_them() -> None:
    rows = [[("ok", "green"), ("1", ""), ("x", "")], [("unknown", "red"), ("20", "")]]
    assert "ok       1   x\nunknown  20\n" == table(PLAIN, rows)
    colored = table(Terminal(has_colors=True), rows)
    assert "\x1b[32mok\x1b[0m       1   x\n\x1b[31munknown\x1b[0m  20\n" == colored


def test_entries_flow_as_wide_as_the_terminal_is() -> None:
    cells = [[(f"GPU {n}", ""), (str(n * 100), "")] for n in range(4)]
    assert (
        "  GPU 0  0      GPU 1  100\n  GPU 2  200    GPU 3  300\n"  # 10 wide, 4 between them
    ) == flowed(Terminal(width=35), cells)
    assert 4 == flowed(Terminal(width=10), cells).count("\n")


def test_a_file_is_no_terminal() -> None:
    assert terminal_of(io.StringIO(), {"TERM": "xterm"}) is None


def test_what_a_terminal_can_show() -> None:
    assert terminal_of(Screen(), {"TERM": "xterm"}).has_colors
    for environ in ({"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}, {}):
        assert not terminal_of(Screen(), environ).has_colors
    # no-color.org: only when it is not empty.
    assert terminal_of(Screen(), {"TERM": "xterm", "NO_COLOR": ""}).has_colors


def test_nothing_printed_moves_the_cursor() -> None:
    assert "a?[2Jb?" == printable("a\x1b[2Jb\n")


def test_a_pipe_is_told_nothing() -> None:
    stream = io.StringIO()
    with progress(stream) as tell:
        assert tell is None
    assert "" == stream.getvalue()


def test_a_line_of_progress_goes_away_again(monkeypatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream, times = Screen(), iter([0.0, 0.3, 2.4])
    with progress(stream, lambda: next(times)) as tell:
        assert tell is not None
        tell("connecting")
        tell("waiting")
    shown = stream.getvalue()
    assert "connecting (0 s)" in shown
    assert "waiting (2 s)" in shown
    assert shown.endswith("\r\x1b[K")
