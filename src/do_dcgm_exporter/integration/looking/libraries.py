"""Which major release of DCGM an exporter loads, while it does not run."""

from __future__ import annotations

import mmap
import re

from do_dcgm_exporter.integration.host import Host

_LIBRARY = re.compile(rb"libdcgm\.so\.(\d)")
_DIRECTORIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
# nvcr.io/nvidia/k8s/dcgm-exporter:4.2.3-4.1.3-ubuntu22.04 has DCGM 4.2.3 and is 4.1.3.
_TAG = re.compile(r":v?(\d+)\.[\d.]+-\d")


def major_of_program(host: Host, program: str) -> int:
    """Return the major release of DCGM that a program loads, 0 if it does not tell.

    dcgm-exporter opens the library by its full name, which therefore stands in it. If there
    is none, the one release that is installed will be the one.
    """
    try:
        with (
            host.path(program).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            named = {int(major) for major in _LIBRARY.findall(content)}
    except (OSError, ValueError):
        named = set()  # no such file, or an empty one
    return _only(named) or _only(_installed(host))


def _installed(host: Host) -> set[int]:
    names = (
        path.name.split(".")[2]
        for directory in _DIRECTORIES
        for pattern in ("libdcgm.so.*", "*-linux-gnu/libdcgm.so.*")
        for path in host.path(directory).glob(pattern)
    )
    return {int(name) for name in names if name.isdigit()}


def _only(majors: set[int]) -> int:
    return min(majors) if len(majors) == 1 else 0


def major_of_image(image: str) -> int:
    """Return the major release of DCGM in one of NVIDIA's images, by its tag."""
    match = _TAG.search(image)
    return int(match[1]) if match else 0
