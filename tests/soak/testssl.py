"""Run Debian's testssl.sh against the TLS listener: ``python -m tests.soak.testssl``.

Prints every finding that is not good or neutral, and fails if one is above LOW.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.certificates import Authority
from tests.e2e.conftest import Stage

_FINE = ("OK", "INFO", "DEBUG")
_TOLERATED = (*_FINE, "LOW")


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.testssl", description=__doc__)
    parser.add_argument("--rsa", action="store_true", help="with an RSA key instead of P-256")
    options = parser.parse_args()
    program = shutil.which("testssl") or shutil.which("testssl.sh")
    if program is None:
        print("there is no testssl.sh: apt install testssl.sh", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name, Stage(Path(name)) as stage:
        findings = scan(program, stage, Path(name), "" if options.rsa else "P-256")
    judged = [(f["severity"], f["id"], f["finding"]) for f in findings]
    for finding in judged:
        if finding[0] not in _FINE:
            print(*finding, sep="  ")
    bad = [finding for finding in judged if finding[0] not in _TOLERATED]
    print(f"{len(findings)} findings, {len(bad)} above LOW")
    return 1 if bad or not findings else 0


def scan(program: str, stage: Stage, directory: Path, curve: str) -> list[dict[str, str]]:
    """Return the findings of testssl.sh on an exporter with a certificate of a test CA."""
    authority = Authority(directory)
    pair = authority.server(curve=curve)
    web = directory / "web.yml"
    web.write_text(f"tls_server_config: {{cert_file: {pair.certificate}, key_file: {pair.key}}}\n")
    exporter = stage.exporter(stage.engine("h100x8"), web_config_file=web)
    report = directory / "findings.json"
    command = [
        program,
        "--quiet",
        "--color=0",
        "--warnings=batch",
        f"--add-ca={authority.certificate}",
    ]
    subprocess.run(
        [*command, f"--jsonfile={report}", f"localhost:{exporter.port}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    findings: list[dict[str, str]] = json.loads(report.read_text())
    return findings


if __name__ == "__main__":
    sys.exit(main())
