"""What config finds before anything is unpacked: exporters with an engine of their own."""

from __future__ import annotations

import re

from tests.package.system import System

LIB = "/usr/lib/systemd/system"
ETC = "/etc/systemd/system"
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
    f"{ETC}/wrapped.service": RUN.format("/usr/local/bin/start-it --now"),
    "/usr/local/bin/start-it": "#!/bin/sh\n# not with -r\nexec dcgm-exporter -c 5000\n",
    f"{ETC}/from-file.service": RUN.format("/bin/sh -c 'exec $EXPORTER'\nEnvironmentFile=-/etc/e"),
    "/etc/e": "EXPORTER=/usr/bin/dcgm-exporter\n",
    f"{ETC}/in-docker.service": RUN.format(
        "docker run --rm --net host nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-ubuntu22.04"
    ),
    # Ours is not somebody's decision: one may think better of it.
    f"{ETC}/rewritten.service": RUN.format(NVIDIAS),
    f"{ETC}/rewritten.service.d/zz-do-dcgm-exporter.conf": (
        "[Service]\nEnvironment=DCGM_REMOTE_HOSTENGINE_INFO=localhost:5555\n"
    ),
    f"{ETC}/unset-again.service": RUN.format(NVIDIAS + "\nEnvironment=A=1"),
    f"{ETC}/unset-again.service.d/10.conf": (
        "[Service]\nEnvironment=DCGM_REMOTE_HOSTENGINE_INFO=gpu7:5555\n"
    ),
    f"{ETC}/unset-again.service.d/20.conf": "[Service]\nEnvironment=\n",
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
    f"{ETC}/a-b.service": RUN.format(NVIDIAS),
    f"{ETC}/a-.service.d/all.conf": (
        "[Service]\nEnvironment=DCGM_REMOTE_HOSTENGINE_INFO=gpu7:5555\n"
    ),
    f"{LIB}/masked.service": RUN.format(NVIDIAS),
    f"{ETC}/commented.service": RUN.format(f"/bin/true\n#ExecStart={NVIDIAS}"),
    f"{ETC}/something-else.service": RUN.format("/usr/bin/dcgm-exporter-tool"),
    f"{ETC}/in-a-directory.service": RUN.format("/usr/bin/cat /opt/dcgm-exporter/notes"),
    f"{ETC}/wrapped-remote.service": RUN.format("/usr/local/bin/start-remote"),
    "/usr/local/bin/start-remote": "#!/bin/sh\nexec dcgm-exporter -r localhost:5555\n",
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
    for path, text in {**EMBEDDED, **OTHERS}.items():
        installed.write(path, text)
    installed.systemctl("mask", "masked.service")
    installed.run("ln", "-s", f"{ETC}/odd-name.service", f"{ETC}/alias-of-it.service")
    result = installed.run("/var/lib/dpkg/info/do-dcgm-exporter.config", "reconfigure", "0",
                           environ={"DEBIAN_HAS_FRONTEND": ""}, check=False)  # fmt: skip
    assert "syntax" not in result.stderr

    names = {path.rpartition("/")[2] for path in EMBEDDED if path.endswith(".service")}
    assert set(asked_about(installed)) == names
