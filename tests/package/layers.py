"""The layers that machines boot from, each made once and kept under build/package."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.package.machine import Root
from tests.package.packages import CLONE

CACHE = CLONE / "build" / "package"
EDITION = "2"  # of the steps below; change it to rebuild all layers

# The minimum of a cloud image, and curl.
CLEAN = ("apt-utils", "ca-certificates", "curl", "dbus", "init-system-helpers", "iproute2",
         "systemd-sysv", "whiptail")  # fmt: skip
DEPENDENCIES = ("python3", "python3-configargparse", "python3-prometheus-client",
                "python3-requests")  # fmt: skip


@functools.cache
def debian_archive() -> str:
    """Return the archive of this machine's own apt, or DEBIAN_ARCHIVE.

    Empty if the machine is not Debian and the variable is not set.
    """
    if told := os.environ.get("DEBIAN_ARCHIVE"):
        return told
    release = platform.freedesktop_os_release()
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)"]
    said = subprocess.run(
        [*command, "Created-By: Packages", "Component: main"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = (line.split() for line in said.splitlines())
    suites = (release.get("VERSION_CODENAME"), "stable")
    uris = [uri for uri, suite in found if release["ID"] == "debian" and suite in suites]
    return uris[0].rstrip("/") if uris else ""


def clean_system(distribution: str) -> list[Path]:
    """Return the layers of a small system as the distribution has it."""
    recipe = (distribution, debian_archive(), EDITION, *CLEAN)
    return [_cached(f"{distribution}-clean", recipe, _bootstrap)]


def system_with_dependencies(distribution: str) -> list[Path]:
    """Return the layers of a system that has everything we depend on but DCGM."""
    return system_with(distribution, *DEPENDENCIES)


def system_with(distribution: str, *packages: str) -> list[Path]:
    """Return the layers of a small system with packages of the distribution."""
    below = clean_system(distribution)
    recipe = (below[0].name, *packages)

    def install(layer: Path, _: tuple[str, ...]) -> None:
        root = Root(below)
        try:
            shutil.copy("/etc/resolv.conf", root.path / "etc" / "resolv.conf")
            root.run("apt-get", "update", "--quiet")
            root.run("apt-get", "install", "--yes", "--no-install-recommends", *packages)
            root.run("apt-get", "clean")
            shutil.rmtree(root.path / "var" / "lib" / "apt" / "lists")
            _name_localhost(root.path)
            root.keep(layer)
        finally:
            root.close()

    return [_cached(f"{distribution}-with-{packages[0]}", recipe, install), *below]


def _bootstrap(layer: Path, recipe: tuple[str, ...]) -> None:
    distribution, archive, _, *packages = recipe
    new = layer.with_name(f"{layer.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}"]
    # As in an image: without the manuals and translations of other packages.
    command += ["--dpkgopt=path-exclude=/usr/share/locale/*"]
    if distribution == "testing":  # a mirror may be out of date
        command += ['--aptopt=Acquire::Check-Valid-Until "false"']
    subprocess.run([*command, distribution, str(new), archive], check=True)
    _name_localhost(new)
    new.rename(layer)


def _name_localhost(root: Path) -> None:
    """Leave it what an installer or image builder leaves, and no name servers."""
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n::1 localhost ip6-localhost\n")
    (root / "etc" / "resolv.conf").write_text("")


def _cached(
    name: str, recipe: tuple[str, ...], make: Callable[[Path, tuple[str, ...]], None]
) -> Path:
    digest = hashlib.sha256("\n".join(recipe).encode()).hexdigest()[:12]
    return made_once(CACHE / f"{name}-{digest}", lambda layer: make(layer, recipe))


def made_once(place: Path, make: Callable[[Path], object]) -> Path:
    """Return ``place``, which the first of several processes makes, completely or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            make(place)
    return place
