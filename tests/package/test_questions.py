"""The questions: typed on a terminal, gone back over, refused, and the admin's edits kept."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.package.system import CONF, EXPORTER, System, setting

ENTER = "\r"
ESCAPE = "\033"
DOWN = "\033[B"
CLEAR = "\x7f" * 40
NEXT = "\t"
PATIENCE = 60.0  # seconds; only ever waited out by a failure


class Terminal:
    """dpkg-reconfigure on a terminal of its own, and who sits before it."""

    def __init__(self, system: System, frontend: str) -> None:
        self._system = system
        self._outside, inside = pty.openpty()
        command = ("dpkg-reconfigure", "--priority=low", "do-dcgm-exporter")
        environ = {"TERM": "linux", "DEBIAN_FRONTEND": frontend}
        self._process = subprocess.Popen(
            # Its controlling terminal, which the readline frontend opens as /dev/tty.
            [*system.machine.prefix(environ), "setsid", "--ctty", "--wait", "sh", "-c",
             'stty rows 40 cols 100; exec "$@"', "sh", *command],
            stdin=inside, stdout=inside, stderr=inside,
        )  # fmt: skip
        os.close(inside)
        self.said = ""
        self.all_said = ""

    def wait_for(self, text: str) -> None:
        """Wait until the text is to be seen, after what was seen before."""
        end = time.monotonic() + PATIENCE
        while text not in plain(self.said):
            assert time.monotonic() < end, f"no {text!r} in {plain(self.said)}"
            self._read(0.2)
        self._read(0.2)
        self.all_said += plain(self.said)
        self.said = ""

    def type(self, *keys: str) -> None:
        """Type keys, not faster than a dialog reads them."""
        for key in keys:
            os.write(self._outside, key.encode())
            time.sleep(0.1)

    def answer(self, question: str, *keys: str) -> None:
        """Wait for a question and type the answer."""
        self.wait_for(question)
        self.type(*keys)

    def finish(self) -> str:
        """Wait for the end of the program and return what it said last."""
        end = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < end:
            self._read(0.2)
        self._read(0.2)
        assert self._process.poll() == 0, plain(self.said)
        return plain(self.said)

    def close(self) -> None:
        """Leave, and wait until debconf has left, which keeps its database locked to its end."""
        self._process.kill()
        self._process.wait()
        os.close(self._outside)
        unlocked = ("flock", "--nonblock", "/var/cache/debconf/config.dat", "true")
        assert self._system.becomes(
            lambda: self._system.run(*unlocked, check=False).returncode == 0
        )

    def _read(self, seconds: float) -> None:
        while select.select([self._outside], [], [], seconds)[0]:
            try:
                self.said += os.read(self._outside, 65536).decode(errors="replace")
            except OSError:  # the other end is closed
                return


def plain(text: str) -> str:
    """Return what a screen shows, more or less: without control sequences and line breaks."""
    without_sequences = re.sub(r"\033[\[(][0-9;?]*[A-Za-z]|\033.|[\x0e\x0f]", " ", text)
    return " ".join(without_sequences.split())


@contextmanager
def questions(system: System, frontend: str) -> Iterator[Terminal]:
    """Be asked all questions on a terminal."""
    opened = Terminal(system, frontend)
    try:
        yield opened
    finally:
        opened.close()


def answers(system: System) -> dict[str, list[str]]:
    keys = ("address", "forward", "engine", "remote-hostengine-info", "counter-groups")
    return {key: found for key in keys if (found := setting(system.configuration, key))}


def test_answers_typed_into_dialogs_are_obeyed(installed: System) -> None:
    with questions(installed, "dialog") as screen:
        screen.answer("Address to serve the metrics on", CLEAR, ":9500", ENTER)
        screen.answer("Send the GPU metrics to DigitalOcean?", DOWN, DOWN, ENTER)
        screen.answer("Which service should read the GPUs?", DOWN, ENTER)
        screen.answer("Address of nv-hostengine", ENTER)
        screen.answer("Additional groups of metrics", " ", DOWN, DOWN, " ", NEXT, ENTER)
        screen.answer("Show who uses the GPUs?", ENTER)
        screen.finish()

    assert answers(installed) == {
        "address": [":9500"],
        "forward": ["no"],
        "engine": ["ours"],
        "counter-groups": ["[memory, ecc]"],
    }
    assert installed.has_full_metrics(9500)
    assert installed.engines() == ["do-nv-hostengine.service"]


def test_one_can_go_back_in_dialogs(installed: System) -> None:
    with questions(installed, "dialog") as screen:
        screen.answer("Address to serve the metrics on", CLEAR, ":9500", ENTER)
        screen.answer("Send the GPU metrics to DigitalOcean?", ESCAPE, ESCAPE)
        screen.answer("Address to serve the metrics on", CLEAR, ":9600", ENTER)
        screen.answer("Send the GPU metrics to DigitalOcean?", ENTER)
        screen.answer("Which service should read the GPUs?", ENTER)
        screen.answer("Address of nv-hostengine", ENTER)
        screen.answer("Additional groups of metrics", NEXT, ENTER)
        screen.answer("Show who uses the GPUs?", ENTER)
        screen.finish()

    assert answers(installed) == {"address": [":9600"], "engine": ["nvidia"]}


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (":99999", '"99999" is not a port'),
        ("300.1.1.1:9401", '"300.1.1.1" is not the name or address of a host'),
        (":9700", "Another program already listens on it: python3 (pid"),
    ],
)
def test_an_address_that_cannot_be_is_asked_for_again(
    installed: System, wrong: str, reason: str
) -> None:
    installed.run("systemd-run", "--unit=holder", "python3", "-m", "http.server", "9700")
    installed.becomes(lambda: ":25E4" in installed.run("cat", "/proc/net/tcp").stdout)
    with questions(installed, "readline") as screen:
        screen.answer("Address to serve the metrics on:", f"\x15{wrong}{ENTER}")
        screen.wait_for(reason)
        screen.type(ENTER)
        screen.answer("Address to serve the metrics on:", f"\x15:9401{ENTER}")
        screen.answer("Send the GPU metrics to DigitalOcean?", f"1{ENTER}")
        screen.answer("Which service should read the GPUs?", f"1{ENTER}")
        screen.answer("Address of nv-hostengine:", f"localhost:5555{ENTER}")
        screen.answer("Additional groups of metrics:", ENTER)
        screen.answer("Show who uses the GPUs?", f"y{ENTER}")
        screen.finish()

    # Our own service on 9401 is in nobody's way.
    assert answers(installed) == {"engine": ["nvidia"]}
    assert installed.is_active("do-dcgm-exporter-usage.timer")


def test_the_admins_edits_win_and_stay(installed: System) -> None:
    edited = installed.configuration + "# mine\naddress = :9500 # also mine\nforward = off\n"
    installed.write(CONF, edited)
    installed.reconfigure()
    assert installed.configuration == edited
    assert installed.has_full_metrics(9500)

    installed.preseed(address=":9600")
    installed.reconfigure()
    assert installed.configuration == edited


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("no-forward = YES", ""),
        ("forward = NO", ""),
        ("forward = never", "although forward cannot be never"),
        ("no-forward", "although forward cannot be empty"),
    ],
)
def test_no_spelling_turns_forwarding_on_again(installed: System, line: str, said: str) -> None:
    edited = f"{installed.configuration}{line}\n"
    installed.write(CONF, edited)
    told = installed.run("dpkg-reconfigure", "do-dcgm-exporter", check=False)

    assert installed.configuration == edited
    assert said in told.stderr


def test_a_line_that_the_admin_deletes_is_the_default_again(installed: System) -> None:
    without = installed.configuration
    lines = "address = :9500\nno-forward = yes\ncounter-groups = [power]\n"
    installed.write(CONF, without + lines)
    installed.reconfigure()
    assert installed.has_full_metrics(9500)

    installed.write(CONF, without)
    installed.reconfigure()
    assert installed.configuration == without
    assert installed.has_full_metrics()


def test_reconfiguring_twice_changes_nothing(installed: System) -> None:
    before = installed.configuration
    installed.reconfigure()
    first = installed.configuration
    installed.reconfigure()

    assert first == before == installed.configuration
    assert installed.is_active(EXPORTER)


def test_the_questions_are_translated(installed: System) -> None:
    for language, question in (("de", "Adresse"), ("fr", "Adresse")):
        templates = installed.run("cat", "/var/lib/dpkg/info/do-dcgm-exporter.templates").stdout
        lines = [line for line in templates.splitlines() if line.startswith("Description-")]
        assert any(
            line.startswith(f"Description-{language}.") and question in line for line in lines
        )


EMBEDDED_UNIT = """\
[Service]
ExecStart=/usr/bin/dcgm-exporter -f /etc/dcgm-exporter/default-counters.csv
"""
REMOTE = "[Service]\nEnvironment=DCGM_REMOTE_HOSTENGINE_INFO=gpu7:5555\n"


def test_what_to_do_with_an_embedded_exporter_is_asked_only_where_there_is_one(
    installed: System,
) -> None:
    unit = "/usr/lib/systemd/system/nvidia-dcgm-exporter.service"
    installed.write(unit, EMBEDDED_UNIT)
    with questions(installed, "readline") as screen:
        screen.answer("What should happen to it?", f"3{ENTER}")
        assert "installed here: nvidia-dcgm-exporter.service" in screen.all_said
        screen.wait_for("Address to serve the metrics on:")
    installed.write(f"/etc/systemd/system/{Path(unit).name}.d/mine.conf", REMOTE)
    with questions(installed, "readline") as screen:
        screen.wait_for("Address to serve the metrics on:")
        assert "What should happen to it?" not in screen.all_said
