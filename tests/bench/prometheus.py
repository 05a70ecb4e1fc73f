"""Debian's Prometheus as the subject, scraping replayed hosts."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.cases import REPOSITORY
from tests.bench.subject import free_port, resident_megabytes

PROMETHEUS = REPOSITORY / "build" / "prometheus" / "usr" / "bin" / "prometheus"
SCRAPE_INTERVAL = 10

CONFIG = """\
global: {scrape_interval: %ds, scrape_timeout: 9s}
scrape_configs:
- job_name: do-dcgm-exporter
  file_sd_configs: [{files: [targets.json]}]
"""


@dataclass(frozen=True)
class Running:
    """A running Prometheus."""

    port: int
    pid: int
    data: Path

    def value(self, expression: str) -> float:
        """The only value of an expression, 0 if there is none."""
        query = urllib.parse.urlencode({"query": expression})
        found = self._call(f"query?{query}")["result"]
        return float(found[0]["value"][1]) if found else 0.0

    def own(self, name: str) -> float:
        """A metric of its own, from its page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as page:
            text = page.read().decode()
        found = re.search(rf'(?m)^{name}(?:{{type="float"}})? (\S+)$', text)
        assert found, name
        return float(found[1])

    def snapshot(self) -> Path:
        """Make it write its memory to blocks, and return their directory."""
        name = self._call("admin/tsdb/snapshot", method="POST")["name"]
        return self.data / "snapshots" / str(name)

    def resident_bytes(self) -> float:
        """Its present memory."""
        return resident_megabytes(self.pid) * 1e6

    def _call(self, path: str, method: str = "GET") -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}"
        with urllib.request.urlopen(
            urllib.request.Request(url, method=method), timeout=600
        ) as answer:
            return json.load(answer)["data"]


@contextmanager
def prometheus(replay_port: int, targets: int) -> Iterator[Running]:
    """Start Debian's Prometheus on a number of replayed hosts."""
    with tempfile.TemporaryDirectory() as name:
        directory, port = Path(name), free_port()
        (directory / "prometheus.yml").write_text(CONFIG % SCRAPE_INTERVAL)
        (directory / "targets.json").write_text(json.dumps(_targets(replay_port, targets)))
        process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--web.enable-admin-api",
                "--log.level=error",
            ]
        )
        try:
            _wait_until_it_listens(port, process)
            yield Running(port, process.pid, directory / "data")
        finally:
            process.terminate()
            process.wait()


def _targets(port: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "targets": [f"127.0.0.1:{port}"],
            "labels": {
                "__metrics_path__": f"/{host}/metrics",
                "instance": f"gpu-host-{host:05d}",
                "region": "tor1",
            },
        }
        for host in range(count)
    ]


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.1)  # not yet
        else:
            return
    raise RuntimeError("Prometheus did not start")
