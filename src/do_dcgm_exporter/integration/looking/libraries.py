"""Which DCGM an exporter speaks, and which release it is itself, when it does not run."""

from __future__ import annotations

import mmap
import re
from functools import cache

from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking.commands import CommandFailed, run

_LIBRARY = re.compile(rb"libdcgm\.so\.(\d)")
_DIRECTORIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
# nvcr.io/nvidia/k8s/dcgm-exporter:4.2.3-4.1.3-ubuntu22.04 has DCGM 4.2.3 and is 4.1.3.
_TAG = re.compile(r":v?(\d+)\.[\d.]+-(\d+(?:\.\d+)*)")
# 1:4.5.3-4.8.2 is 4.8.2 for DCGM 4.5.3; in 4.8.2-1 the last part is Debian's.
_PACKAGE = re.compile(r"(?:\d+:)?(?:\d[\d.]*-(?=\d+\.))?(\d+(?:\.\d+)*)")

# Releases of NVIDIA's exporter that label with the engine's host instead of their own.
_FIRST_MISLABELLING = (4, 0)
_LAST_MISLABELLING = (4, 8, 2)


def major_of_program(host: Host, program: str) -> int:
    """Return the major release of DCGM that a program loads, 0 if it does not tell.

    dcgm-exporter opens the library by its full name, which therefore stands in it.
    """
    try:
        with (
            host.path(program).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            majors = {int(major) for major in _LIBRARY.findall(content)}
    except (OSError, ValueError):
        majors = set()  # no such file, or an empty one
    return majors.pop() if len(majors) == 1 else 0


def major_on_library_path(host: Host) -> int:
    """Return the one major release of DCGM that is installed, 0 if it is not exactly one."""
    majors = set()
    for directory in _DIRECTORIES:
        base = host.path(directory)
        for pattern in ("libdcgm.so.*", "*-linux-gnu/libdcgm.so.*"):
            majors |= {path.name.split(".")[2] for path in base.glob(pattern)}
    found = {int(major) for major in majors if major.isdigit()}
    return found.pop() if len(found) == 1 else 0


def major_of_image(image: str) -> int:
    """Return the major release of DCGM in one of NVIDIA's images, by its tag."""
    match = _TAG.search(image)
    return int(match[1]) if match else 0


def version_of_image(image: str) -> str:
    """Return the release of the exporter in one of NVIDIA's images, by its tag."""
    match = _TAG.search(image)
    return match[2] if match else ""


@cache
def version_of_package(program: str) -> str:
    """Return the release of the package that a program belongs to, nothing without one."""
    if not program.startswith("/"):
        return ""
    try:
        owner = run("dpkg-query", "--search", program, timeout=2.0).partition(":")[0]
        version = run("dpkg-query", "--show", "--showformat=${Version}", owner, timeout=2.0)
    except CommandFailed:
        return ""
    match = _PACKAGE.match(version)
    return match[1] if match else ""


def mislabels_when_remote(version: str) -> bool | None:
    """Whether a release labels its metrics "localhost" as a client; None if it is not known."""
    if not version:
        return None
    numbers = tuple(int(part) for part in version.split(".")[:3])
    return _FIRST_MISLABELLING <= numbers <= _LAST_MISLABELLING
