"""Scrapers in Python, one process each, for machines without wrk.

A scraper is busier than the server, so a single connection measures the scraper; with four,
only compare servers with each other.
"""

from __future__ import annotations

import re
import socket
import time
from concurrent.futures import ProcessPoolExecutor


def scrape(port: int, connections: int, seconds: float, request: bytes) -> list[float]:
    """Send ``request`` as fast as answers come; return the sorted seconds of all."""
    with ProcessPoolExecutor(connections) as pool:
        runs = [pool.submit(_scrape_alone, port, seconds, request) for _ in range(connections)]
        return sorted(duration for run in runs for duration in run.result())


def _scrape_alone(port: int, seconds: float, request: bytes) -> list[float]:
    buffer = bytearray(1 << 20)
    durations = []
    closes = b"Connection: close" in request
    connection = _connect(port)
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        connection.sendall(request)
        _receive_answer(connection, buffer)
        if closes:
            connection.close()
            connection = _connect(port)
        durations.append(time.perf_counter() - started)
    connection.close()
    return durations


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _receive_answer(connection: socket.socket, buffer: bytearray) -> None:
    received = connection.recv_into(buffer)
    head, separator, _ = bytes(buffer[:received]).partition(b"\r\n\r\n")
    match = re.search(rb"content-length: (\d+)", head.lower())
    assert match, "no whole head in the first bytes"
    missing = len(head) + len(separator) + int(match.group(1)) - received
    while missing > 0:
        missing -= connection.recv_into(buffer)
