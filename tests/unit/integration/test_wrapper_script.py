"""What is understood of a script is what the shell does with it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from do_dcgm_exporter.integration.deciding.exporter_command import without_launchers
from do_dcgm_exporter.integration.deciding.wrapper_script import (
    UNKNOWN,
    Call,
    NotUnderstood,
    started_by,
)

VARIABLE = "DCGM_REMOTE_HOSTENGINE_INFO"
# Writes down how it was called, and what else was.
EXPORTER = f"""#!/bin/sh
{{ printf '%s\\n' exporter "${VARIABLE}" "$@"; }} >>"$TOLD"
"""
OTHER = """#!/bin/sh
echo other >>"$TOLD"
"""
VALUES = ["a", "", "a b", "$A", "${B}", "${C:-c}", "${C-c d}", '"$A"', '"$A $B"', "'$A'", "a#b",
          "\\$A", '"a\\"b"', '"a\\b"', "$1", '"$2"', '"$@"', "$*", "$(basename x)", "-r", "gpu7:1",
          '"$(dirname /a/b)"', '"${A:-$B}"', "x\"y\"'z'"]  # fmt: skip
value = st.sampled_from(VALUES)
name = st.sampled_from(["A", "B", "C", VARIABLE])
plain = st.one_of(
    st.builds("{}={}".format, name, value),
    st.builds("export {}={}".format, name, value),
    st.builds("export {}".format, name),
    st.builds("[ -n {} ] && {}={}".format, st.sampled_from(['"$A"', "x"]), name, value),
    st.builds('test "$A" = a || {}={}'.format, name, value),
    st.builds('if [ "$A" = a ]; then {}={}; else {}={}; fi'.format, name, value, name, value),
    st.builds('if [ -z "$B" ]\nthen\n{}={}\nfi'.format, name, value),
    st.builds("set -{}".format, st.sampled_from(["e", "a", "x", "ea"])),
    st.sampled_from([":", "umask 022", "echo started", "# a comment", "", "ulimit -c 0", ". ./x",
                     "[ -r ./x ] && . ./x", "cd /", "readonly D=1", "other", "other &",
                     "echo $(other)", "exit 0", '[ "$A" ] || exit 1'])
)  # fmt: skip
arguments = st.lists(value, max_size=3).map(" ".join)
prefix = st.sampled_from(["", "exec ", "A=z ", "exec env B=y ", "nice -n 1 ", f"{VARIABLE}=q "])
last = st.builds("{}dcgm-exporter {}{}".format, prefix, arguments,
                 st.sampled_from(["", " # end", " 2>&1", "\nexit 0", " &", "; other"]))  # fmt: skip
scripts = st.builds(
    lambda lines, end: "\n".join([*lines, end, ""]), st.lists(plain, max_size=4), last
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("shell")
    for program, text in (("dcgm-exporter", EXPORTER), ("other", OTHER)):
        (directory / program).write_text(text)
        (directory / program).chmod(0o755)
    (directory / "x").write_text("A=from-x\nB='x y'\n")
    return directory


def really_started(shell: str, place: Path, script: str) -> list[str]:
    """Return what a shell starts, one after the other, with their arguments."""
    told = place / "told"
    told.write_text("")
    (place / "script").write_text(script)
    path = f"{place}:/usr/bin:/bin"
    subprocess.run(
        [shell, "./script", "one", "t w o"], cwd=place, check=False, capture_output=True,
        env={"PATH": path, "TOLD": str(told), "A": "a", "B": "b b"}, timeout=60,
    )  # fmt: skip
    return told.read_text().splitlines()


def understood(place: Path, script: str) -> list[str]:
    """Return what a script is understood to start."""
    caller = Call(("./script", "one", "t w o"), {"A": "a", "B": "b b"}, str(place))

    def read(path: str) -> str:
        return Path(path).read_text() if os.path.isfile(path) else ""

    started = without_launchers(started_by(script, caller, read))
    return ["exporter", started.environment.get(VARIABLE, ""), *started.words[1:]]


@pytest.mark.parametrize("shell", [shell for shell in ("dash", "bash") if shutil.which(shell)])
@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(script=scripts)
def test_a_script_that_is_understood_does_just_that(place: Path, shell: str, script: str) -> None:
    try:
        expected = understood(place, script)
    except NotUnderstood:
        return
    if any(UNKNOWN in word for word in expected):
        return
    # One that ends before, or that set -e ends, starts nothing.
    assert really_started(shell, place, script) in (expected, [])


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet="ab$(){}'\"\\`#;&|<>=\n -[]!1", max_size=60))
def test_whatever_the_text_it_is_understood_or_refused(text: str) -> None:
    try:
        started_by(text, Call(("x", "1"), {}), lambda _: "")
    except NotUnderstood:
        return
