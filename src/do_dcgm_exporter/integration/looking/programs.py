"""What the files are that commands name: NVIDIA's exporter, a shell script, or another program."""

from __future__ import annotations

import mmap
import os
import re
import struct
from dataclasses import dataclass
from enum import Enum

from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE
from do_dcgm_exporter.integration.host import Host, read_bytes
from do_dcgm_exporter.integration.looking import libraries

# Where systemd and shells look for a program by its name alone: systemd.service(5).
SEARCH_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"})

_LARGEST_TEXT = 1 << 18
_LARGEST_BUILD_INFORMATION = 1 << 18
_MOST_SECTIONS = 1 << 10
# The kernel's files are no programs, and some of them do things when they are read.
_NO_PROGRAMS = ("/dev/", "/proc/", "/sys/")

# NVIDIA's name for it, and with the release behind it.
_NAME = re.compile(r"(?:nvidia[-_])?dcgm[-_]exporter(?:[-_.]?v?\d[\w.+~-]*)?")
# A name that ends in the word may be one; "dcgm-exporter-monitor" is something of it.
_SIMILAR_NAME = re.compile(
    r"(?!do[-_])(?:[\w.+]+-)*?(?:\w+_)?dcgm[-_]exporter(?:[-_.]\w*\d[\w.+~-]*)?"
)
# What "go version -m" prints: the main package of a program, and the module that it is in if
# the package was named by its files. The modules it depends on are called "dep".
_PACKAGE = re.compile(rb"\bpath\t(?!command-line-arguments)(\S+)|\bmod\t(\S+)")
_PACKAGE_OF_NVIDIA = b"github.com/NVIDIA/dcgm-exporter/cmd/dcgm-exporter"
_OF_EXPORTER = re.compile(rb"\S*/dcgm[-_]exporter")


class Kind(Enum):
    """What a program is. A likely exporter has only the name of one."""

    EXPORTER = "exporter"
    LIKELY = "likely exporter"
    SHELL_SCRIPT = "shell script"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Program:
    """A program by its file; ``text`` is a shell script's."""

    kind: Kind
    text: str = ""


class Programs:
    """The programs of a machine, each looked at once."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: dict[str, Program] = {}

    def find(self, name: str, directory: str = "/") -> str:
        """Return the path of a program as a command calls it; it need not be there."""
        if "/" in name:
            return os.path.join(directory, name)
        places = (f"{place}/{name}" for place in SEARCH_PATH)
        return next((path for path in places if self._host.path(path).exists()), name)

    def identify(self, path: str) -> Program:
        """Say what a program is, by its content where that tells, else by its name."""
        if path not in self._known:
            self._known[path] = self._identify(path)
        return self._known[path]

    def may_be_exporter(self, path: str) -> bool:
        """Whether a program has an exporter's name or main package, for little reading."""
        place = str(self._host.path(path))
        if is_named_like_exporter(os.path.basename(path)):
            return True
        is_binary = not path.startswith(_NO_PROGRAMS) and read_bytes(place, 4) == b"\x7fELF"
        return is_binary and _go_package_is_exporter(place) is True

    def text(self, path: str) -> str:
        """Return the text of a script or of a file of variables, nothing of a program."""
        if not path.startswith("/") or path.startswith(_NO_PROGRAMS):
            return ""
        content = read_bytes(str(self._host.path(path)), _LARGEST_TEXT)
        return "" if b"\0" in content else content.decode("utf-8", "replace")

    def library_major(self, path: str) -> int:
        """Return the major release of DCGM that a program loads, 0 if it is not known."""
        return libraries.major_of_program(self._host, path) or libraries.major_on_library_path(
            self._host
        )

    def version(self, path: str) -> str:
        """Return the release of the package that a program belongs to, nothing without one."""
        return libraries.version_of_package(path)

    def _identify(self, path: str) -> Program:
        names = {os.path.basename(path)}
        if path.startswith("/") and not path.startswith(_NO_PROGRAMS):
            place = self._host.path(path)
            names.add(os.path.basename(os.path.realpath(place)))
            if (start := read_bytes(str(place), 4)) == b"\x7fELF":
                return Program(_kind_of_binary(str(place), names))
            if start[:2] == b"#!":
                return self._script(path, names)
            if start:
                return Program(Kind.OTHER)
        return Program(_kind_by_name(names))

    def _script(self, path: str, names: set[str]) -> Program:
        text = self.text(path)
        words = text.partition("\n")[0][2:].split()
        interpreters = [os.path.basename(word) for word in words[:2]]
        if interpreters[:1] == ["env"]:
            interpreters.pop(0)
        if interpreters and interpreters[0] in SHELLS:
            return Program(Kind.SHELL_SCRIPT, text)
        return Program(_kind_by_name(names) if REMOTE_VARIABLE in text else Kind.OTHER)


def is_named_like_exporter(name: str) -> bool:
    """Whether a file's name is an exporter's, perhaps with something before it."""
    return _SIMILAR_NAME.fullmatch(name) is not None


def _kind_by_name(names: set[str]) -> Kind:
    if all(_NAME.fullmatch(name) for name in names):
        return Kind.EXPORTER
    return Kind.LIKELY if any(map(is_named_like_exporter, names)) else Kind.OTHER


def _kind_of_binary(place: str, names: set[str]) -> Kind:
    """Judge an ELF file by its main package, by what it reads, and last by its name."""
    is_exporter = _go_package_is_exporter(place)
    if is_exporter is None:
        try:
            with (
                open(place, "rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
            ):
                # Some compilers and packers leave no section for it.
                is_exporter = content.find(_PACKAGE_OF_NVIDIA) >= 0
                if not is_exporter and content.find(REMOTE_VARIABLE.encode()) < 0:
                    return Kind.OTHER
        except (OSError, ValueError):
            return _kind_by_name(names)
        return Kind.EXPORTER if is_exporter else _kind_by_name(names)
    return Kind.EXPORTER if is_exporter else Kind.OTHER


def _go_package_is_exporter(place: str) -> bool | None:
    """Whether the main package of a program of Go is an exporter, None if it is none of Go."""
    try:
        with (
            open(place, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            package = _PACKAGE.search(_go_build_information(content))
    except (OSError, ValueError, struct.error):
        return None
    return _OF_EXPORTER.fullmatch(package[1] or package[2]) is not None if package else None


def _go_build_information(content: mmap.mmap) -> bytes:
    """Return the section .go.buildinfo of a 64-bit ELF file, nothing without one: elf(5)."""
    if content[4:6] != b"\x02\x01":  # ELFCLASS64, ELFDATA2LSB
        return b""
    (table,) = struct.unpack_from("<Q", content, 0x28)
    size, count, names = struct.unpack_from("<HHH", content, 0x3A)
    sections = [
        struct.unpack_from("<IIQQQQ", content, table + index * size)
        for index in range(min(count, _MOST_SECTIONS))
    ]
    if names >= len(sections):
        return b""
    for name, _, _, _, offset, length in sections:
        start = sections[names][4] + name
        if content[start : start + 14] == b".go.buildinfo\0":
            return content[offset : offset + min(length, _LARGEST_BUILD_INFORMATION)]
    return b""
