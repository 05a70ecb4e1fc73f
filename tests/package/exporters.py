"""Stand-ins for NVIDIA's exporters: as a package of NVIDIA's, as units, in containers."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from tests.package import exporter_kinds
from tests.package.exporter_kinds import Left
from tests.package.packages import Package
from tests.package.system import System

SOURCE = Path(__file__).with_name("stand_in_exporter.c")
LIBRARIES = Path("/usr/lib") / str(sysconfig.get_config_var("MULTIARCH"))
# The newest release, for the tests' DCGM, whose host label changes with a remote engine.
RELEASE = "4.5.3-4.8.2"
UNIT = "nvidia-dcgm-exporter.service"
# If this file exists, the stand-in does not run with a remote engine.
REFUSAL = "/etc/dcgm-exporter/refuses-to-run-remote"

# Facts about NVIDIA's unit: its name, command and dependencies.
VENDOR_UNIT = """\
[Unit]
Description=NVIDIA DCGM Exporter
Wants=nvidia-dcgm.service
After=nvidia-dcgm.service
[Service]
User=root
PrivateTmp=false
ExecStart=/usr/bin/dcgm-exporter -f /etc/dcgm-exporter/default-counters.csv
StandardOutput=append:/var/log/dcgm-exporter.log
StandardError=append:/var/log/dcgm-exporter.log
Restart=on-abort
[Install]
WantedBy=multi-user.target
"""

VENDOR_POSTINST = f"""\
#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
systemctl daemon-reload
if [ -z "$2" ]; then
	systemctl enable --quiet --now {UNIT}
else
	systemctl try-restart {UNIT}
fi
"""

VENDOR_PRERM = f"""\
#!/bin/sh
[ "$1" != remove ] || systemctl disable --quiet --now {UNIT} || true
"""

VENDOR_POSTRM = """\
#!/bin/sh
systemctl daemon-reload
"""


@functools.cache
def program(release: str = RELEASE, refusal: str = REFUSAL) -> bytes:
    """Return a dcgm-exporter of a release; if ``refusal`` exists, it does not run with -r."""
    defined = {"LIBRARY": str(library_of(release)), "RELEASE": release, "REFUSAL": refusal}
    macros = [f'-D{name}="{value}"' for name, value in defined.items()]
    with tempfile.TemporaryDirectory() as directory:
        compiled = Path(directory, "dcgm-exporter")
        subprocess.run(
            ["cc", "-O1", "-Wall", "-Wextra", "-Werror", *macros, "-o", compiled, SOURCE],
            check=True,
        )
        return compiled.read_bytes()


def library_of(release: str) -> Path:
    """Return the name of the DCGM library that an exporter of a release opens."""
    return LIBRARIES / ("libdcgm.so" if release[0] == "3" else f"libdcgm.so.{release[0]}")


def put_library(root: Path, release: str) -> None:
    """Put the library that an exporter of a release opens below ``root``, if it is not there.

    It is some small shared object: only its name matters.
    """
    library = root / str(library_of(release)).lstrip("/")
    if library.exists():
        return
    library.parent.mkdir(parents=True, exist_ok=True)
    found = [path for path in LIBRARIES.glob("lib*.so.*") if path.is_file()]
    real = library.with_name(f"libdcgm.so.{release[0]}")
    real.write_bytes(min(found, key=lambda path: path.stat().st_size).read_bytes())
    if library != real:
        library.symlink_to(real.name)


def vendor_package(
    directory: Path,
    release: str = RELEASE,
    unit: str = VENDOR_UNIT,
    place: str = "usr/lib",
    *,
    has_library: bool = True,
    stops: bool = True,
) -> Path:
    """Build a package like NVIDIA's datacenter-gpu-manager-exporter, and the library it maps.

    With ``stops`` its service is stopped when the package is removed.
    """
    package = Package(directory, "datacenter-gpu-manager-exporter", f"1:{release}")
    package.file("usr/bin/dcgm-exporter", program(release), 0o755)
    package.file("etc/dcgm-exporter/default-counters.csv", "DCGM_FI_DEV_GPU_TEMP, gauge, Temp.\n")
    package.file(f"{place}/systemd/system/{UNIT}", unit)
    if has_library:
        put_library(package.tree, release)
    package.script("conffiles", "/etc/dcgm-exporter/default-counters.csv\n")
    package.script("postinst", VENDOR_POSTINST)
    if stops:
        package.script("prerm", VENDOR_PRERM)
        package.script("postrm", VENDOR_POSTRM)
    return package.build()


def put_program(
    system: System,
    path: str = "/usr/bin/dcgm-exporter",
    release: str = RELEASE,
    refusal: str = REFUSAL,
) -> None:
    """Put a dcgm-exporter and its library into a system, as from a tarball."""
    put_program_into(system.root, path, release, refusal)


def put_program_into(
    root: Path,
    path: str = "/usr/bin/dcgm-exporter",
    release: str = RELEASE,
    refusal: str = REFUSAL,
) -> None:
    """Put them into a root file system."""
    put_library(root, release)
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    # Not written in place, since systemd may be starting it (ETXTBSY).
    new = place.with_name(f"{place.name}.new")
    new.write_bytes(program(release, refusal))
    new.chmod(0o755)
    new.rename(place)


def put_enabled_exporter(root: Path) -> None:
    """Put an exporter into a root file system whose machine is off."""
    put_program_into(root)
    units = root / exporter_kinds.ETC.lstrip("/")
    (units / "copied.service").write_text(exporter_kinds.unit(exporter_kinds.on(9400)))
    link = units / "multi-user.target.wants" / "copied.service"
    link.symlink_to(f"{exporter_kinds.ETC}/copied.service")


def engine_of(system: System, port: int) -> str:
    """Return the engine that the exporter on ``port`` says it reads, empty without an answer."""
    for line in system.page(port).splitlines():
        if line.startswith("stand_in_engine{"):
            return line.split('"')[1]
    return ""


def put_one(system: System, port: int = 9400, more: str = "") -> None:
    """Put one exporter on a machine, as from a tarball, and wait until it serves."""
    put_program(system)
    text = exporter_kinds.unit(exporter_kinds.on(port, more=more))
    name = f"exporter-{port}.service"
    system.write(f"{exporter_kinds.ETC}/{name}", text)
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "enable", "--quiet", "--now", name)
    assert system.becomes(lambda: bool(engine_of(system, port))), system.journal(name)


SERVICE = "do-dcgm-exporter-integrate.service"
WANTED = "/run/do-dcgm-exporter-integration/wanted"


def finished(system: System) -> bool:
    """Whether the background work of a maintainer script finishes."""

    def rests() -> bool:
        told = system.systemctl("show", "--property=ActiveState,Job", SERVICE)
        is_off = re.search("ActiveState=(inactive|failed)", told) is not None
        return is_off and not re.search(r"Job=\d", told) and not system.exists(WANTED)

    return system.becomes(rests)


def integrate(system: System, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the tool, whatever its exit status."""
    return system.run("do-dcgm-exporter-integrate", *arguments, check=False)


def checked(system: System, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run its check, however busy this computer is."""
    return integrate(system, "check", "--wait", *arguments)


def put_all_kinds(system: System, vendor: Path) -> None:
    """Put every kind of exporter on a machine, all at once, and wait until they serve."""
    system.install(vendor)
    put_program(system, exporter_kinds.OLD_PROGRAM, "3.3.9-3.6.1")
    put_program(system, exporter_kinds.REFUSER, refusal=exporter_kinds.REFUSER)
    for path in (
        exporter_kinds.RENAMED,
        exporter_kinds.UNRECOGNIZABLE,
        exporter_kinds.IN_ITS_DIRECTORY,
    ):
        put_program(system, path)
    put_tool(system, "docker")
    system.write("/etc/hosts", system.read("/etc/hosts") + "127.0.0.1 gpu7\n")
    system.write(f"{exporter_kinds.ETC}/other-engine.service", OTHER_ENGINE_UNIT)
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "enable", "--quiet", "--now", "other-engine.service")
    assert system.becomes(lambda: is_served(system, 5556))
    exporter_kinds.put(system)
    for kind in exporter_kinds.KINDS:
        if kind.left in (Left.RUNNING, Left.STARTED):
            assert system.becomes(
                lambda kind=kind: engine_of(system, kind.port) == kind.engine,
            ), f"{kind.name}: {system.journal(kind.unit)}"


OTHER_ENGINE_UNIT = """\
[Service]
ExecStart=/usr/bin/nv-hostengine -n -p 5556
[Install]
WantedBy=multi-user.target
"""


def is_served(system: System, port: int) -> bool:
    """Whether somebody listens on a port."""
    return f":{port:04X} 00000000:0000 0A" in system.run("cat", "/proc/net/tcp").stdout


def put_tool(system: System, name: str) -> None:
    """Put the stand-in of a command-line tool into a system: docker and the like, or snap."""
    stand_in = "snap" if name == "snap" else "docker"
    system.write(
        f"/usr/bin/{name}", Path(__file__).with_name(f"stand_in_{stand_in}.py").read_text()
    )
    (system.root / "usr" / "bin" / name).chmod(0o755)


def asked(system: System, tool: str) -> list[list[str]]:
    """Return all commands that the stand-in of a tool was given."""
    path = f"/var/log/stand-in/{tool}/asked"
    return (
        [json.loads(line) for line in system.read(path).splitlines()] if system.exists(path) else []
    )
