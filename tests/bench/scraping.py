"""Keep-alive scrapers, one process each, that time every request."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

_REQUEST = b"GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n"


@dataclass(frozen=True)
class Load:
    """What a number of connections got in one go."""

    p50: float
    p99: float
    per_second: float


def scrape(address: tuple[str, int], connections: int, seconds: float) -> Load:
    """Scrape as fast as answers come, over ``connections`` keep-alive connections."""
    with ProcessPoolExecutor(connections) as pool:
        runs = [pool.submit(_scrape_alone, address, seconds) for _ in range(connections)]
        times = sorted(duration for run in runs for duration in run.result())
    return Load(_percentile(times, 0.5), _percentile(times, 0.99), len(times) / seconds)


def _scrape_alone(address: tuple[str, int], seconds: float) -> list[float]:
    buffer = bytearray(1 << 20)
    durations = []
    with socket.create_connection(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.perf_counter() + seconds
        while (started := time.perf_counter()) < end:
            connection.sendall(_REQUEST)
            _receive_answer(connection, buffer)
            durations.append(time.perf_counter() - started)
    return durations


def _receive_answer(connection: socket.socket, buffer: bytearray) -> None:
    received = connection.recv_into(buffer)
    head, separator, _ = bytes(buffer[:received]).partition(b"\r\n\r\n")
    match = re.search(rb"content-length: (\d+)", head.lower())
    assert match, "no whole head in the first bytes"
    missing = len(head) + len(separator) + int(match.group(1)) - received
    while missing > 0:
        missing -= connection.recv_into(buffer)


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
