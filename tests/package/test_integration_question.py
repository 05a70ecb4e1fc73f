"""What config finds before anything is unpacked: exporters with an engine of their own."""

from __future__ import annotations

import re

from tests.package import strangers
from tests.package.exporter_kinds import ETC, LIB
from tests.package.system import System

RUN = "[Service]\nExecStart={}\n"
NVIDIAS = "/usr/bin/dcgm-exporter -f /etc/dcgm-exporter/default-counters.csv"

# Path and text; those that are to be found first.
EMBEDDED = {
    f"{LIB}/nvidia-dcgm-exporter.service": RUN.format(NVIDIAS),
    f"{ETC}/odd-name.service": RUN.format("-/opt/gpu/dcgm-exporter"),
    f"{ETC}/continued.service": RUN.format("/usr/bin/dcgm-exporter \\\n  -c 5000"),
    f"{ETC}/templated@.service": RUN.format("/usr/bin/dcgm-exporter -a :94%i"),
    # The last word has the admin.
    f"{LIB}/replaced.service": RUN.format(f"{NVIDIAS} -r localhost:5555"),
    f"{ETC}/replaced.service.d/mine.conf": RUN.format(f"\nExecStart={NVIDIAS} -c 5000"),
    f"{ETC}/overridden.service": RUN.format(NVIDIAS),
    f"{LIB}/overridden.service": RUN.format(f"{NVIDIAS} -r gpu7:5555"),
    f"{ETC}/renamed.service": RUN.format("-@/usr/local/bin/nvidia_dcgm_exporter exporter -c 5000"),
    f"{ETC}/commented-out-in-file.service": RUN.format(f"{NVIDIAS}\nEnvironmentFile=-/etc/e"),
    "/etc/e": "#DCGM_REMOTE_HOSTENGINE_INFO=gpu7:5555\n",
    # Ours is not somebody's decision: one may think better of it.
    f"{ETC}/rewritten.service": RUN.format(NVIDIAS),
    f"{ETC}/rewritten.service.d/zz-do-dcgm-exporter.conf": (
        "[Service]\nEnvironment=DCGM_REMOTE_HOSTENGINE_INFO=localhost:5555\n"
    ),
}
OTHERS = {
    f"{ETC}/flags.service": RUN.format(f"{NVIDIAS} -r localhost:5555"),
    f"{ETC}/long-flag.service": RUN.format(f"{NVIDIAS} --remote-hostengine-info=gpu7:5555"),
    f"{ETC}/variable.service": RUN.format(NVIDIAS),
    f"{ETC}/variable.service.d/mine.conf": (
        "[Service]\nEnvironment=DCGM_REMOTE_HOSTENGINE_INFO=gpu7:5555\n"
    ),
    f"{ETC}/variable-from-file.service": RUN.format(f"{NVIDIAS}\nEnvironmentFile=/etc/f"),
    "/etc/f": "DCGM_REMOTE_HOSTENGINE_INFO=gpu7:5555\n",
    f"{ETC}/no-file.service": RUN.format(
        "/usr/bin/dcgm-exporter -r gpu7:5555\nEnvironmentFile=-/no"
    ),
    f"{LIB}/masked.service": RUN.format(NVIDIAS),
    f"{ETC}/commented.service": RUN.format(f"/bin/true\n#ExecStart={NVIDIAS}"),
    f"{ETC}/something-else.service": RUN.format("/usr/bin/dcgm-exporter-tool"),
    f"{ETC}/in-a-directory.service": RUN.format("/usr/bin/cat /opt/dcgm-exporter/notes"),
    f"{ETC}/script.service": RUN.format("/usr/local/bin/start-dcgm-exporter --now"),
    f"{ETC}/oneshot.service": RUN.format(f"{NVIDIAS}\nType=oneshot"),
    f"{ETC}/restarts-it.service": RUN.format("/usr/bin/systemctl restart dcgm-exporter"),
    f"{ETC}/follows-it.service": RUN.format("/usr/bin/journalctl -f -u dcgm-exporter"),
    f"{ETC}/checks-it.service": RUN.format("/bin/sh -c 'systemctl is-active dcgm-exporter'"),
    f"{ETC}/another.service": RUN.format("/usr/bin/do-dcgm-exporter"),
    f"{ETC}/Copy of odd-name.service": RUN.format(NVIDIAS),
    f"{ETC}/odd-näme.service": RUN.format(NVIDIAS),
}


def asked_about(system: System) -> list[str]:
    """Return the units that the question of the last run of config names."""
    data = system.read("/var/cache/debconf/config.dat")
    entry = data.split("Name: do-dcgm-exporter/embedded-exporters\n", 1)[1].split("\n\n")[0]
    named = re.search(r"(?m)^ UNITS = (.*)$", entry)
    return named[1].split() if named else []


def test_every_exporter_with_an_engine_of_its_own_is_asked_about(installed: System) -> None:
    installed.reconfigure()
    assert asked_about(installed) == []
    files = {path: text for one in strangers.STRANGERS for path, text in one.files.items()}
    for path, text in {**files, **EMBEDDED, **OTHERS}.items():
        installed.write(path, text)
    installed.systemctl("mask", "masked.service")
    installed.run("ln", "-s", f"{ETC}/odd-name.service", f"{ETC}/alias-of-it.service")
    result = installed.run("/var/lib/dpkg/info/do-dcgm-exporter.config", "reconfigure", "0",
                           environ={"DEBIAN_HAS_FRONTEND": ""}, check=False)  # fmt: skip
    assert "syntax" not in result.stderr

    names = {path.rpartition("/")[2] for path in EMBEDDED if path.endswith(".service")}
    assert set(asked_about(installed)) == names
