"""Programs that mention, contain, start, stop, watch or serve an exporter but are not one.

All of them fit on one machine, beside the exporters of exporter_kinds.py.
"""

from __future__ import annotations

from tests.package.exporter_kinds import ETC, PROGRAM, unit
from tests.package.exporters import put_program, put_tool
from tests.package.stranger import (
    DAEMON,
    DAEMON_TEXT,
    EXPORTERS_UNIT,
    IN_CGROUP,
    IN_CGROUP_TEXT,
    ONESHOT,
    RAN,
    UNUSED,
    daemon,
    script,
    service,
)
from tests.package.strangers_with_exporters import CONTAINERS, HOSTS
from tests.package.system import System

BADLY_NAMED = ("Copy of exporter-9400.service", "exporter-ä.service")
# The Debian packages that some of them come from.
PACKAGES = ("cron", "libpam-systemd", "numactl", "procps", "socat", "sudo", "supervisor")


# They stop, start or watch an exporter's unit.
KEEPERS = (
    script(
        "oneshot that cuts GPUs into instances",
        "cut-gpus",
        f"systemctl stop {EXPORTERS_UNIT} || true",
        "nvidia-smi mig -cgi 19,19 -C || true",
        f"systemctl start --no-block {EXPORTERS_UNIT} || true",
        more=ONESHOT,
    ),
    script(
        "oneshot that resets GPUs",
        "reset-gpus",
        f"systemctl stop {EXPORTERS_UNIT} || true",
        "nvidia-smi --gpu-reset || true",
        f"systemctl start --no-block {EXPORTERS_UNIT} || true",
        more=("Type=oneshot",),
    ),
    service(
        "oneshot of a timer",
        "restart-exporter",
        "/usr/bin/systemctl restart dcgm-exporter",
        "Type=oneshot",
        files={f"{ETC}/restart-exporter.timer": "[Timer]\nOnCalendar=2100-01-01\n"},
        start=("systemctl start restart-exporter.timer",),
    ),
    service(
        "oneshot that runs the exporter once",
        "exporter-version",
        f"{PROGRAM} --version",
        *ONESHOT,
    ),
    service(
        "validator",
        "validator",
        f"/bin/sh -c 'echo started >>{RAN}/validator;"
        " systemctl is-active -q dcgm-exporter || exit 1'",
    ),
    script(
        "watchdog",
        "watchdog",
        "while sleep 86400; do",
        f"\tcurl -sf http://localhost:9400/metrics || systemctl restart {EXPORTERS_UNIT}",
        "done",
    ),
    script(
        "watchdog that does not run",
        "idle-watchdog",
        f"while sleep 60; do pgrep dcgm-exporter || {PROGRAM} & done",
        start=UNUSED,
    ),
    service(
        "helper that ends with the exporter",
        "bound-helper",
        "/usr/bin/python3 -I -c 'import signal; signal.pause()'",
        f"ExecStartPre={PROGRAM} --version",
        "ExecStop=/bin/sh -c 'pgrep -x dcgm-exporter || true'",
    ),
)

# The word is in their arguments, in a path, or in their name.
MENTIONS = (
    service("its journal", "journal", "/usr/bin/journalctl -f -u dcgm-exporter"),
    service("its log", "log", "/usr/bin/tail -F /var/log/dcgm-exporter"),
    service("false", "false", "/bin/false /etc/dcgm-exporter"),
    service(
        "curl",
        "curl",
        "/usr/bin/curl --silent --retry 1000000 --retry-connrefused --retry-delay 86400"
        " http://127.0.0.1:1/dcgm-exporter",
    ),
    service("pgrep", "pgrep", "/bin/sh -c 'while sleep 86400; do pgrep -x dcgm-exporter; done'"),
    service("socat", "socat", f"/usr/bin/socat TCP-LISTEN:9540,fork EXEC:{PROGRAM}"),
    daemon("kubectl", "kubectl", "/usr/local/bin/kubectl logs -f daemonset/dcgm-exporter"),
    daemon("consul", "consul", f"/usr/local/bin/consul watch -service=dcgm-exporter {PROGRAM}"),
    daemon("ssh", "ssh", f"/usr/local/bin/ssh gpu7 {PROGRAM} -a :9400"),
    service(
        "monitor in a directory of that name",
        "monitor",
        "/usr/bin/python3 /opt/dcgm-exporter/monitor.py",
        files={"/opt/dcgm-exporter/monitor.py": "import signal\nsignal.pause()\n"},
    ),
    daemon("another program under its unit's name", "dcgm-exporter", "/usr/sbin/gpu-metricsd"),
    daemon("a tool of its", "tool", "/usr/bin/dcgm-exporter-tool"),
    daemon(
        "variable",
        "variable",
        "/usr/sbin/variabled $TARGET",
        f"Environment=TARGET={PROGRAM}",
    ),
)

STRANGERS = (*KEEPERS, *MENTIONS, *HOSTS, *CONTAINERS)
UNIT_NAMES = frozenset(stranger.unit for stranger in STRANGERS if stranger.unit)


def put(system: System) -> None:
    """Put all of them on a machine, and start those that run."""
    put_program(system)
    for tool in ("docker", "podman", "nvidia-docker", "docker-compose", "nerdctl"):
        put_tool(system, tool)
    for path in (DAEMON, "/usr/sbin/paired"):
        write(system, path, DAEMON_TEXT)
    write(system, IN_CGROUP, IN_CGROUP_TEXT)
    (system.root / RAN.lstrip("/")).mkdir()
    system.write("/var/log/dcgm-exporter", "")
    for name in BADLY_NAMED:
        system.write(f"{ETC}/{name}", unit(f"{PROGRAM} -a :9400"))
        system.write(f"{ETC}/{name}.d/override.conf", "[Service]\nEnvironment=A=1\n")
    for stranger in STRANGERS:
        for path, text in stranger.files.items():
            write(system, path, text)
    system.run("systemctl", "daemon-reload")
    for stranger in STRANGERS:
        for command in stranger.commands:
            system.run("sh", "-c", command)


def write(system: System, path: str, text: str) -> None:
    """Write a file; make it executable if it is a script."""
    system.write(path, text)
    if text.startswith("#!"):
        (system.root / path.lstrip("/")).chmod(0o755)
