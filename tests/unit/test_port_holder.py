"""Listening, and the sentence for a port that is taken."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from do_dcgm_exporter.config.settings import ListenAddress
from do_dcgm_exporter.serve.port import CannotListen, PortTaken, listen
from do_dcgm_exporter.sockets import Holder, find_holder

TABLE_HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"


@pytest.fixture
def taken():
    """A socket that listens on 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def process(proc: Path, pid: int, command: str, *targets: str) -> None:
    (proc / str(pid) / "fd").mkdir(parents=True)
    (proc / str(pid) / "comm").write_text(f"{command}\n")
    for number, target in enumerate(targets):
        (proc / str(pid) / "fd" / str(number)).symlink_to(target)


def sockets(proc: Path, table: str, *rows: tuple[str, str, int]) -> None:
    (proc / "net").mkdir(exist_ok=True)
    lines = (
        f" 0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 {inode}\n"
        for local, state, inode in rows
    )
    (proc / "net" / table).write_text(TABLE_HEAD + "".join(lines))


def test_the_holder_is_the_process_with_the_listening_socket(tmp_path):
    sockets(
        tmp_path,
        "tcp",
        ("0100007F:24B9", "01", 11),  # a connection
        ("00000000:24B8", "0A", 12),  # another port
    )
    sockets(tmp_path, "tcp6", ("00000000000000000000000000000000:24B9", "0A", 13))
    process(tmp_path, 7, "client", "/dev/null", "socket:[11]")
    process(tmp_path, 8, "neighbour", "socket:[12]")
    process(tmp_path, 9, "dcgm-exporter", "/dev/null", "socket:[13]")

    assert Holder("dcgm-exporter", 9) == find_holder(9401, tmp_path)


def test_a_holder_that_cannot_be_seen_is_nobody(tmp_path):
    sockets(tmp_path, "tcp", ("00000000:24B9", "0A", 13))
    process(tmp_path, 9, "secret")

    assert find_holder(9401, tmp_path) is None
    assert find_holder(9402, tmp_path) is None


def test_a_taken_port_is_named_with_its_holder(taken):
    with pytest.raises(PortTaken) as error:
        listen(ListenAddress("127.0.0.1", taken))

    sentence = str(error.value)
    assert f"127.0.0.1:{taken}" in sentence
    assert f"(pid {os.getpid()})" in sentence
    assert 1 == error.value.exit_status


def test_a_port_taken_on_one_address_is_taken_for_all_of_them(taken, tmp_path):
    with pytest.raises(PortTaken, match=f"cannot listen on :{taken}: .* by another process"):
        listen(ListenAddress("", taken), proc=tmp_path)


def test_an_address_of_another_host_is_a_sentence():
    with pytest.raises(CannotListen, match=r"192\.0\.2\.1:9401: Cannot assign requested address"):
        listen(ListenAddress("192.0.2.1", 9401))


def test_a_name_without_an_address_is_a_sentence():
    with pytest.raises(CannotListen, match=r"nowhere\.invalid:9401: "):
        listen(ListenAddress("nowhere.invalid", 9401))


def families(listeners: list[socket.socket]) -> set[str]:
    """Return the loopback addresses that can be connected to, and close the listeners."""
    reached = set()
    for host in ("127.0.0.1", "::1"):
        try:
            socket.create_connection((host, listeners[0].getsockname()[1]), timeout=10).close()
        except OSError:
            continue
        reached.add(host)
    for listener in listeners:
        listener.close()
    return reached


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this host has no IPv6")
def test_no_host_means_both_families():
    assert {"127.0.0.1", "::1"} == families(listen(ListenAddress("", 0)))


def test_no_host_means_ipv4_where_there_is_no_ipv6(monkeypatch):
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)

    assert {"127.0.0.1"} == families(listen(ListenAddress("", 0)))


def test_a_name_means_all_its_addresses(monkeypatch):
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0))
        for host in ("127.0.0.1", "127.0.0.2")
    ]
    found.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0)))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    listeners = listen(ListenAddress("droplet", 0))

    assert ["127.0.0.1", "127.0.0.2"] == [sock.getsockname()[0] for sock in listeners]
    assert 1 == len({sock.getsockname()[1] for sock in listeners})
    for listener in listeners:
        listener.close()
