"""What systemd is told."""

from __future__ import annotations

import os
import secrets
import socket
import time

import pytest

from do_dcgm_exporter.service import sd_notify


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path, monkeypatch):
    """The service manager's socket."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(10)
        listener.bind(name.replace("@", "\0", 1))
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listener


def test_states_arrive_in_one_message(manager):
    sd_notify.notify(sd_notify.READY, sd_notify.status("8 GPUs,\n all well"))

    assert b"READY=1\nSTATUS=8 GPUs, all well" == manager.recv(1000)


def test_a_reload_says_when_it_began(manager):
    before = time.monotonic_ns() // 1000
    sd_notify.notify(sd_notify.reloading())

    state, stamp = manager.recv(1000).decode().split("\n")
    assert "RELOADING=1" == state
    assert before <= int(stamp.removeprefix("MONOTONIC_USEC="))


def test_without_a_service_manager_nothing_happens(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    sd_notify.notify(sd_notify.STOPPING)


def test_a_manager_that_is_gone_hurts_nobody(monkeypatch, tmp_path):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))

    sd_notify.notify(sd_notify.WATCHDOG)


@pytest.mark.parametrize(
    ("microseconds", "pid", "expected"),
    [
        ("30000000", None, 30.0),
        ("500000", "its own", 0.5),
        ("30000000", "1", None),
        ("", None, None),
        ("0", None, None),
        ("soon", None, None),
    ],
)
def test_the_watchdog_is_for_this_process_or_nobody(monkeypatch, microseconds, pid, expected):
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    if pid:
        monkeypatch.setenv("WATCHDOG_PID", pid.replace("its own", str(os.getpid())))

    assert expected == sd_notify.watchdog_interval()
