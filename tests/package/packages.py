"""Packages that the tests build: imitations of NVIDIA's and of the Go exporter's."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]
SIMULATOR = CLONE / "src" / "dcgm_simulator"

# Facts about DCGM's units: their names, commands and dependencies.
ENGINE_UNIT = """\
[Unit]
Description=NVIDIA DCGM service
After=nvidia-gpu-reset.target
Wants=nvidia-gpu-reset.target
{unit}
[Service]
User=root
PrivateTmp=false
Environment="DCGM_HOME_DIR=/var/log/nvidia-dcgm"
ExecStart=/usr/bin/nv-hostengine -n --service-account nvidia-dcgm
Restart=on-abort
[Install]
{install}
WantedBy=multi-user.target
"""

ENGINE = """\
#!/usr/bin/python3 -I
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, "{home}")
from dcgm_simulator.nv_hostengine import main
sys.exit(main(environ=os.environ | {{"DCGM_SIMULATOR_VERSION": "{version}"}}))
"""

NVIDIA_POSTINST = """\
#!/bin/sh
useradd -Urs /usr/sbin/nologin nvidia-dcgm
case $? in 0|9) ;; *) exit 1 ;; esac
mkdir -p /var/log/nvidia-dcgm
chown nvidia-dcgm /var/log/nvidia-dcgm
chmod 755 /var/log/nvidia-dcgm
"""


def copy_clone(target: Path) -> None:
    """Copy the files that git knows, as they are now."""
    target.mkdir(parents=True)
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CLONE, capture_output=True, check=True,
    ).stdout  # fmt: skip
    subprocess.run(
        ["rsync", "--archive", "--no-times", "--from0", "--ignore-missing-args", "--files-from=-",
         f"{CLONE}/", target],
        input=files, check=True,
    )  # fmt: skip


class Package:
    """A package under construction: add files, then build it."""

    def __init__(self, directory: Path, name: str, version: str, **fields: str) -> None:
        """``fields`` are more lines of the control file, with _ for -."""
        self.tree = directory / f"{name}_{version.replace(':', '%3a')}"
        shutil.rmtree(self.tree, ignore_errors=True)
        self.control = {
            "Package": name,
            "Version": version,
            "Architecture": "all",
            "Maintainer": "Nobody <nobody@example.com>",
            "Description": "look-alike for tests",
            **{key.replace("_", "-"): value for key, value in fields.items()},
        }

    def file(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Put a file into it."""
        target = self.tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        target.chmod(mode)

    def script(self, name: str, content: str) -> None:
        """Add a maintainer script, or the list of conffiles."""
        self.file(f"DEBIAN/{name}", content, 0o644 if name == "conffiles" else 0o755)

    def simulator(self, home: str, bindings: str, version: str) -> None:
        """Put an engine and bindings of a DCGM version into it."""
        self.engine(home, version)
        self.library(home, version)
        self.bindings(home, bindings)

    def engine(self, home: str, version: str) -> None:
        """Put an engine into it, which runs what is at home."""
        self.file("usr/bin/nv-hostengine", ENGINE.format(home=home, version=version), 0o755)

    def library(self, home: str, version: str) -> None:
        """Put what engine and bindings of a DCGM version are made of into it."""
        package = self.tree / home.lstrip("/") / "dcgm_simulator"
        shutil.copytree(SIMULATOR, package, ignore=shutil.ignore_patterns("__pycache__"))
        library = package / "bindings" / "simulated_library.py"
        text = library.read_text()
        assert text.count("VERSIONS[-1])") == 1
        library.write_text(text.replace("VERSIONS[-1])", f"{version!r})"))

    def bindings(self, home: str, bindings: str) -> None:
        """Put bindings into it, which are those at home."""
        link = self.tree / bindings.lstrip("/")
        link.parent.mkdir(parents=True)
        link.symlink_to(f"{home}/dcgm_simulator/bindings")

    def build(self) -> Path:
        """Build it and return the file."""
        self.file("DEBIAN/control", "".join(f"{k}: {v}\n" for k, v in self.control.items()))
        for directory in (self.tree, *filter(Path.is_dir, self.tree.rglob("*"))):
            directory.chmod(0o755)
        deb = self.tree.with_name(f"{self.tree.name}_{self.control['Architecture']}.deb")
        pack(self.tree, deb)
        return deb


def pack(tree: Path, deb: Path) -> None:
    """Pack a tree into a package, without much compression."""
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(deb)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def dcgm4(directory: Path, version: str) -> Path:
    """Build a package like NVIDIA's datacenter-gpu-manager-4-core."""
    package = Package(
        directory,
        "datacenter-gpu-manager-4-core",
        f"1:{version}-1",
        Depends="libc6 (>= 2.27)",
        Conflicts="datacenter-gpu-manager",
    )
    home = "/usr/share/datacenter-gpu-manager-4"
    package.simulator(f"{home}/simulated", f"{home}/bindings/python3", version)
    unit = ENGINE_UNIT.format(unit="", install="Alias=dcgm.service")
    package.file("usr/lib/systemd/system/nvidia-dcgm.service", unit)
    package.script("postinst", NVIDIA_POSTINST)
    return package.build()


def dcgm47(directory: Path) -> dict[str, Path]:
    """Build the packages that NVIDIA's DCGM 4.7.0 consists of, by their names.

    Their relations to each other are not known, so that they have none.
    """
    version, home = "4.7.0", "/usr/share/datacenter-gpu-manager-4"
    names = ("datacenter-gpu-manager-4-core", "libdcgm", "nv-hostengine",
             "datacenter-gpu-manager-4-python3")  # fmt: skip
    core, library, engine, bindings = (
        Package(directory, name, f"1:{version}-1", Conflicts="datacenter-gpu-manager")
        for name in names
    )
    library.library(f"{home}/simulated", version)
    library.file("usr/lib/x86_64-linux-gnu/libdcgm.so.4", "")
    engine.engine(f"{home}/simulated", version)
    unit = ENGINE_UNIT.format(unit="", install="Alias=dcgm.service")
    engine.file("usr/lib/systemd/system/nvidia-dcgm.service", unit)
    engine.script("postinst", NVIDIA_POSTINST)
    bindings.bindings(f"{home}/simulated", f"{home}/bindings/python3")
    built = (core, library, engine, bindings)
    return dict(zip(names, (package.build() for package in built), strict=True))


def dcgm3(directory: Path) -> Path:
    """Build a package like NVIDIA's datacenter-gpu-manager 3.3.9, with its deprecated unit."""
    package = Package(directory, "datacenter-gpu-manager", "1:3.3.9", Depends="libc6 (>= 2.17)")
    package.simulator("/usr/local/dcgm/simulated", "/usr/local/dcgm/bindings/python3", "3.3.9")
    for name, other in (("nvidia-dcgm", "dcgm"), ("dcgm", "nvidia-dcgm")):
        unit = ENGINE_UNIT.format(unit=f"Conflicts={other}.service", install="")
        package.file(f"usr/lib/systemd/system/{name}.service", unit)
    package.script("postinst", NVIDIA_POSTINST)
    return package.build()


def tarball_engine(directory: Path) -> Path:
    """Build an engine without a unit, as from a tarball, that satisfies our dependency."""
    package = Package(
        directory,
        "dcgm-from-a-tarball",
        "1",
        Provides="datacenter-gpu-manager-4-core (= 1:4.5.3)",
    )
    home = "/usr/share/datacenter-gpu-manager-4"
    package.simulator(f"{home}/simulated", f"{home}/bindings/python3", "4.5.3")
    package.script("postinst", NVIDIA_POSTINST)
    return package.build()


GO_UNIT = """\
[Unit]
Description=DigitalOcean DCGM exporter
After=network.target
[Service]
User=root
ExecStart=/opt/digitalocean/bin/do-dcgm-exporter
Restart=on-failure
RestartSec=5
[Install]
WantedBy=multi-user.target
"""
GO_SOURCE = "/etc/apt/sources.list.d/do-dcgm-exporter.list"
GO_KEY = "/etc/apt/trusted.gpg.d/do-dcgm-exporter.gpg"
GO_CONFFILES: Mapping[str, str] = {
    "/etc/systemd/system/do-dcgm-exporter.service": GO_UNIT,
    GO_SOURCE: "# deb https://example.com jammy extras\n",
    GO_KEY: "a key\n",
}


def go_exporter(directory: Path, source: str = "", key: bytes = b"") -> Path:
    """Build a package like the Go do-dcgm-exporter 0.0.1: a program that occupies our port.

    ``source`` is its apt source, ``key`` the key that signs it.
    """
    package = Package(directory, "do-dcgm-exporter", "0.0.1", Architecture="amd64")
    server = "#!/bin/sh\nexec python3 -m http.server --directory /opt 9401\n"
    package.file("opt/digitalocean/bin/do-dcgm-exporter", server, 0o755)
    for path, content in GO_CONFFILES.items():
        package.file(path, content)
    if source:
        package.file(GO_SOURCE, source)
        package.file(GO_KEY, key)
    package.script("conffiles", "".join(f"{path}\n" for path in GO_CONFFILES))
    return package.build()


def as_version(deb: Path, version: str, directory: Path, preinst: str = "") -> Path:
    """Rebuild a package of ours as another version, with another default counter."""
    tree = directory / f"ours_{version}"
    shutil.rmtree(tree, ignore_errors=True)
    subprocess.run(["dpkg-deb", "--raw-extract", str(deb), str(tree)], check=True)
    control = tree / "DEBIAN" / "control"
    text = control.read_text()
    current = next(line for line in text.splitlines() if line.startswith("Version: "))
    control.write_text(text.replace(current, f"Version: {version}"))
    (tree / "usr/share/do-dcgm-exporter/do_dcgm_exporter/VERSION").write_text(f"{version}\n")
    with (tree / "etc/do-dcgm-exporter/default-counters.csv").open("a") as counters:
        counters.write(f"# {version}\n")
    if preinst:
        script = tree / "DEBIAN" / "preinst"
        script.write_text(preinst)
        script.chmod(0o755)
    result = directory / f"do-dcgm-exporter_{version}_all.deb"
    pack(tree, result)
    return result
