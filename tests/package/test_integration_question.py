"""What config finds before anything is unpacked: exporters with an engine of their own."""

from __future__ import annotations

import re

from tests.package import strangers
from tests.package.exporter_kinds import ETC, LIB
from tests.package.system import System

RUN = "[Service]\nExecStart={}\n"
NVIDIAS = "/usr/bin/dcgm-exporter -f /etc/dcgm-exporter/default-counters.csv"

EMBEDDED = {
    f"{LIB}/nvidia-dcgm-exporter.service": RUN.format(NVIDIAS),
    f"{ETC}/odd-name.service": RUN.format("-/opt/gpu/dcgm-exporter"),
    f"{ETC}/continued.service": RUN.format("/usr/bin/dcgm-exporter \\\n  -c 5000"),
}


def asked_about(system: System) -> list[str]:
    """Return the units that the question of the last run of config names."""
    data = system.read("/var/cache/debconf/config.dat")
    entry = data.split("Name: do-dcgm-exporter/embedded-exporters\n", 1)[1].split("\n\n")[0]
    named = re.search(r"(?m)^ UNITS = (.*)$", entry)
    return named[1].split() if named else []


def test_exporters_are_asked_about_and_strangers_are_not(installed: System) -> None:
    installed.reconfigure()
    assert asked_about(installed) == []
    strange = {path: text for one in strangers.STRANGERS for path, text in one.files.items()}
    badly_named = {f"{ETC}/{name}": RUN.format(NVIDIAS) for name in strangers.BADLY_NAMED}
    for path, text in (strange | badly_named | EMBEDDED).items():
        installed.write(path, text)
    installed.run("ln", "-s", f"{ETC}/odd-name.service", f"{ETC}/alias-of-it.service")
    result = installed.run("/var/lib/dpkg/info/do-dcgm-exporter.config", "reconfigure", "0",
                           environ={"DEBIAN_HAS_FRONTEND": ""}, check=False)  # fmt: skip
    assert "syntax" not in result.stderr

    names = {path.rpartition("/")[2] for path in EMBEDDED}
    assert set(asked_about(installed)) == names
