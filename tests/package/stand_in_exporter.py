#!/usr/bin/python3 -IB
"""Stands in for NVIDIA's dcgm-exporter: its flags, its environment and its habits.

With a remote engine it holds a connection to it and exits when that cannot be made or is
lost; without one it "embeds" a DCGM. Either way it has a library named libdcgm mapped.
Its page says which of the two it does. ``LIBRARY`` and ``VERSION`` are put in when it is
installed.
"""

import argparse
import http.server
import mmap
import os
import signal
import socket
import sys
import threading
import time

LIBRARY = "@LIBRARY@"
VERSION = "@VERSION@"
REFUSAL = "/etc/dcgm-exporter/refuses-to-run-remote"


def parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(prog="dcgm-exporter")
    env = os.environ.get
    # NVIDIA's interval is in milliseconds.
    flags.add_argument("-f", "--collectors", default=env("DCGM_EXPORTER_COLLECTORS", ""))
    flags.add_argument("-a", "--address", default=env("DCGM_EXPORTER_LISTEN", ":9400"))
    flags.add_argument(
        "-c", "--collect-interval", type=int, default=env("DCGM_EXPORTER_INTERVAL", "30000")
    )
    flags.add_argument("-r", "--remote-hostengine-info", default=env("DCGM_REMOTE_HOSTENGINE_INFO"))
    flags.add_argument("-d", "--devices")
    flags.add_argument(
        "-v", "--version", action="version", version=f"DCGM Exporter version {VERSION}"
    )
    return flags


def fail(why: str) -> None:
    print(f"dcgm-exporter: {why}", file=sys.stderr, flush=True)
    os._exit(1)


def map_library() -> mmap.mmap:
    with open(LIBRARY, "rb") as library:
        return mmap.mmap(library.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)


def connect(address: str) -> socket.socket:
    if os.path.exists(REFUSAL):
        fail("this one does not run with a remote engine")
    host, _, port = address.rpartition(":")
    try:
        connection = socket.create_connection((host or "localhost", int(port)), 5)
    except OSError as error:
        fail(f"cannot connect to {address}: {error}")
    connection.settimeout(None)
    return connection


def watch(connection: socket.socket) -> None:
    """Exit with the engine, as NVIDIA's does."""
    while connection.recv(4096):
        pass
    fail("the engine is gone")


class Page(http.server.BaseHTTPRequestHandler):
    text = b""
    ready_at = 0.0

    def do_GET(self) -> None:
        # Releases 3.x have an empty page until their first interval is over.
        text = self.text if time.monotonic() >= self.ready_at else b""
        self.send_response(200 if self.path == "/metrics" else 404)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


def host_label(remote: str) -> str:
    """Releases 4.0 to 4.8.2 take a remote engine's name for the host's."""
    release = tuple(map(int, VERSION.rpartition("-")[2].split(".")))
    if remote and (4, 0, 0) <= release <= (4, 8, 2):
        return remote.rpartition(":")[0]
    return socket.gethostname()


def main() -> None:
    options = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    library = map_library()
    remote = options.remote_hostengine_info or ""
    if remote:
        connection = connect(remote)
        threading.Thread(target=watch, args=(connection,), daemon=True).start()
    host, _, port = options.address.rpartition(":")
    Page.text = (
        "# HELP DCGM_FI_DEV_GPU_TEMP GPU temperature (in C).\n"
        "# TYPE DCGM_FI_DEV_GPU_TEMP gauge\n"
        f'DCGM_FI_DEV_GPU_TEMP{{gpu="0",Hostname="{host_label(remote)}"}} 42\n'
        f'stand_in_engine{{engine="{remote or "embedded"}"}} 1\n'
    ).encode()
    if VERSION.startswith("3."):
        Page.ready_at = time.monotonic() + options.collect_interval / 1000
    try:
        server = http.server.ThreadingHTTPServer((host, int(port)), Page)
    except OSError as error:
        fail(f"cannot listen on {options.address}: {error}")
    server.serve_forever()
    del library


main()
