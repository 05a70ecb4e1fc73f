"""Debian's Prometheus as a process of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.exporter import ROOT

PROMETHEUS = ROOT / "build" / "prometheus" / "usr" / "bin" / "prometheus"

needs_prometheus = pytest.mark.skipif(
    not PROMETHEUS.exists(), reason="no prometheus: make build/prometheus/usr/bin/promtool"
)


class Prometheus:
    """A running Prometheus."""

    def __init__(self, directory: Path, config: str) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as probe:
            self._port = probe.getsockname()[1]
        (directory / "prometheus.yml").write_text(config)
        with (directory / "prometheus.log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    PROMETHEUS,
                    f"--config.file={directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=log,
                stderr=log,
            )

    def ask(self, path: str, **parameters: str) -> Any:
        """Ask its HTTP API."""
        query = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{query}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The series of an expression, now."""
        result = self.ask("query", query=expression)["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    def scrapes(self, targets: int) -> bool:
        """Whether it scrapes that many targets well; also false while it starts."""
        try:
            return len(self.query("up == 1")) == targets
        except urllib.error.URLError:
            assert self.process.poll() is None
            return False

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(30)
