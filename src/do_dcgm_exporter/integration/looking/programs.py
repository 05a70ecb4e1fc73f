"""Identify programs: NVIDIA's exporter, a shell script, or something else."""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE
from do_dcgm_exporter.integration.host import Host, read_bytes

# Where systemd and shells look for a program without a path: systemd.service(5).
SEARCH_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"})

_LARGEST_TEXT = 1 << 18
_LARGEST_BUILD_INFORMATION = 1 << 18
_MOST_SECTIONS = 1 << 10
# The kernel's files are not programs, and reading some of them has effects.
_NO_PROGRAMS = ("/dev/", "/proc/", "/sys/")

# NVIDIA's name for it, perhaps with a release.
_NAME = re.compile(r"(?:nvidia[-_])?dcgm[-_]exporter(?:[-_.]?v?\d[\w.+~-]*)?")
# A name that ends in the word may be one; "dcgm-exporter-monitor" is something else.
_SIMILAR_NAME = re.compile(
    r"(?!do[-_])(?:[\w.+]+-)*?(?:\w+_)?dcgm[-_]exporter(?:[-_.]\w*\d[\w.+~-]*)?"
)
# As "go version -m" prints it: the main package of a program, or its module if the package was
# built from a list of files. Dependencies are marked "dep".
_PACKAGE = re.compile(rb"\bpath\t(?!command-line-arguments)(\S+)|\bmod\t(\S+)")
_OF_EXPORTER = re.compile(rb"\S*/dcgm[-_]exporter")

# dcgm-exporter contains the name of the library it opens: libdcgm.so.4, or up to release 3
# libdcgm.so, which DCGM 4 only has for compilers (go-dcgm, pkg/dcgm/admin.go).
_LIBRARY = re.compile(rb"libdcgm\.so(?:\.(\d))?")
_PLAIN = 3
# nvcr.io/nvidia/k8s/dcgm-exporter:4.2.3-4.1.3-ubuntu22.04 contains DCGM 4.2.3.
_TAG = re.compile(r":v?(\d+)\.[\d.]+-\d")


class Kind(Enum):
    """What a program is."""

    EXPORTER = "exporter"
    SHELL_SCRIPT = "shell script"
    OTHER = "other"


class Programs:
    """The programs of a machine; each is looked at once."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: dict[str, Kind] = {}

    def find(self, name: str, directory: str = "/") -> str:
        """Return the path of a program as named by a command, whether it exists or not."""
        if "/" in name:
            return os.path.join(directory, name)
        places = (f"{place}/{name}" for place in SEARCH_PATH)
        return next((path for path in places if self._host.path(path).exists()), name)

    def identify(self, path: str) -> Kind:
        """Return what a program is, by its content or, failing that, its name."""
        if path not in self._known:
            self._known[path] = self._identify(path)
        return self._known[path]

    def may_be_exporter(self, path: str) -> bool:
        """Return whether a program is an exporter, or named like one."""
        return _has_name(_SIMILAR_NAME, path) or self.identify(path) is Kind.EXPORTER

    def text(self, path: str) -> str:
        """Return the text of a script or a file of variables, empty for a binary."""
        if not path.startswith("/") or path.startswith(_NO_PROGRAMS):
            return ""
        content = read_bytes(str(self._host.path(path)), _LARGEST_TEXT)
        return "" if b"\0" in content else content.decode("utf-8", "replace")

    def library_major(self, path: str) -> int:
        """Return the major release of DCGM that a program loads, 0 if unknown."""
        try:
            with _mapped(str(self._host.path(path))) as content:
                found = set(_LIBRARY.findall(content))
        except (OSError, ValueError):
            return 0
        majors = {int(major) for major in found if major} or ({_PLAIN} if found else set())
        return majors.pop() if len(majors) == 1 else 0

    def _identify(self, path: str) -> Kind:
        place = str(self._host.path(path))
        if not path.startswith("/") or path.startswith(_NO_PROGRAMS):
            return _exporter_if(_has_name(_NAME, path))
        names = (path, os.path.realpath(place))
        is_named = all(_has_name(_NAME, name) for name in names)
        start = read_bytes(place, 4)
        if start == b"\x7fELF":
            is_similar = any(_has_name(_SIMILAR_NAME, name) for name in names)
            return _exporter_if(_is_built_as_exporter(place, is_similar=is_similar))
        if start[:2] != b"#!":
            return _exporter_if(not start and is_named)
        text = self.text(path)
        interpreter = map(os.path.basename, text.partition("\n")[0][2:].split())
        if next((word for word in interpreter if word != "env"), "") in SHELLS:
            return Kind.SHELL_SCRIPT
        # One that does not know the variable would ignore it.
        return _exporter_if(is_named and REMOTE_VARIABLE in text)


def major_of_image(image: str) -> int:
    """Return the major release of DCGM in one of NVIDIA's images, from its tag."""
    match = _TAG.search(image)
    return int(match[1]) if match else 0


def _has_name(pattern: re.Pattern[str], path: str) -> bool:
    return pattern.fullmatch(os.path.basename(path)) is not None


def _exporter_if(is_exporter: bool) -> Kind:
    return Kind.EXPORTER if is_exporter else Kind.OTHER


def _is_built_as_exporter(place: str, *, is_similar: bool) -> bool:
    """Judge an ELF file by its Go main package or, without one, by its name and content."""
    try:
        with _mapped(place) as content:
            package = _PACKAGE.search(_go_build_information(content))
            if package:
                return _OF_EXPORTER.fullmatch(package[1] or package[2]) is not None
            return is_similar and content.find(REMOTE_VARIABLE.encode()) >= 0
    except (OSError, ValueError):
        return False


@contextmanager
def _mapped(place: str) -> Iterator[mmap.mmap]:
    """Map a file. Raises OSError if it cannot be read, ValueError if it is empty."""
    with open(place, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def _go_build_information(content: mmap.mmap) -> bytes:
    """Return the section .go.buildinfo of a 64-bit ELF file, empty if there is none: elf(5)."""
    if content[4:6] != b"\x02\x01":  # ELFCLASS64, ELFDATA2LSB
        return b""
    try:
        (table,) = struct.unpack_from("<Q", content, 0x28)
        size, count, names = struct.unpack_from("<HHH", content, 0x3A)
        sections = [
            struct.unpack_from("<IIQQQQ", content, table + index * size)
            for index in range(min(count, _MOST_SECTIONS))
        ]
    except struct.error:
        return b""  # truncated
    if names >= len(sections):
        return b""
    for name, _, _, _, offset, length in sections:
        start = sections[names][4] + name
        if content[start : start + 14] == b".go.buildinfo\0":
            return content[offset : offset + min(length, _LARGEST_BUILD_INFORMATION)]
    return b""
