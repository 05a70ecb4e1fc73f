"""Debian's Prometheus as a process, and its promtool."""

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
from tests.waiting import wait_until

BIN = ROOT / "build" / "prometheus" / "usr" / "bin"

needs_prometheus = pytest.mark.skipif(
    not (BIN / "prometheus").exists(),
    reason="no prometheus: make build/prometheus/usr/bin/promtool",
)

Labels = dict[str, str]


class Prometheus:
    """A running Prometheus; it ends with the `with` block."""

    def __init__(self, directory: Path, config: str, *flags: str, storage: str = "tsdb") -> None:
        """Start it with ``config``; it answers when the block begins."""
        directory.mkdir(exist_ok=True)
        with closing(socket.create_server(("127.0.0.1", 0))) as probe:
            self.port = probe.getsockname()[1]
        (directory / "prometheus.yml").write_text(config)
        self.log_path = directory / "prometheus.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    BIN / "prometheus",
                    f"--config.file={directory / 'prometheus.yml'}",
                    f"--storage.{storage}.path={directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    *flags,
                ],
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Prometheus:
        wait_until(self._is_ready, "Prometheus answers")
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait(30)

    def ask(self, path: str, **parameters: str) -> Any:
        """Ask its HTTP API; a refused query fails the test with the reason."""
        query = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refusal:
            pytest.fail(f"{parameters}: {refusal.read().decode()}")

    def query(self, expression: str, at: float | None = None) -> list[tuple[Labels, float]]:
        """The series of an expression, at a Unix time or now."""
        when = {} if at is None else {"time": repr(at)}
        result = self.ask("query", query=expression, **when)["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    def scrapes(self, targets: int) -> bool:
        """Whether it scrapes that many targets successfully."""
        return len(self.query("up == 1")) == targets

    def firing(self, alert: str) -> list[Labels]:
        """The labels of every firing alert of that name."""
        return [
            labels for labels, _ in self.query(f'ALERTS{{alertname="{alert}",alertstate="firing"}}')
        ]

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log_path.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=30):
                return True
        except urllib.error.URLError:
            return False


def promtool(*arguments: str | Path) -> str:
    """The output of promtool, which must report no problem."""
    done = subprocess.run(
        [BIN / "promtool", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
