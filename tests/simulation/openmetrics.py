"""Strict OpenMetrics: its own header lines, with the samples of the text format."""

from __future__ import annotations

import re

_HEAD = re.compile(r"# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)")
_TYPES = {"gauge", "counter", "unknown"}


def check(text: str, plain: str) -> None:
    """Fail unless ``text`` is an OpenMetrics page with the samples of ``plain``."""
    lines = text.split("\n")[:-1]
    assert lines[-1] == "# EOF", "no end"
    samples = [line for line in lines if not line.startswith("#")]
    assert samples == [line for line in plain.split("\n")[:-1] if not line.startswith("#")]
    seen: set[str] = set()
    family, kind = "", ""
    for line in lines[:-1]:
        if head := _HEAD.fullmatch(line):
            if head[1] == "HELP":
                family = head[2]
                assert family not in seen, f"{family} is there twice"
                seen.add(family)
            else:
                assert head[2] == family, f"the TYPE of another family: {line}"
                kind = head[3]
                assert kind in _TYPES, line
        else:
            name = family + ("_total" if kind == "counter" else "")
            assert line.startswith((f"{name} ", f"{name}{{")), f"in the midst of {family}: {line}"
