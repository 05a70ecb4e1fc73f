"""What the files are that commands name: NVIDIA's exporter, a shell script, or another program."""

from __future__ import annotations

import mmap
import os
import re
import struct
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO

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
    """What a program is."""

    EXPORTER = "exporter"
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
        return libraries.major_of_program(self._host, path)

    def _identify(self, path: str) -> Program:
        place = str(self._host.path(path))
        if not path.startswith("/") or path.startswith(_NO_PROGRAMS):
            return Program(_kind_if(_is_exporters_name(path)))
        names = (path, os.path.realpath(place))
        start = read_bytes(place, 4)
        if start == b"\x7fELF":
            is_similar = any(is_named_like_exporter(os.path.basename(name)) for name in names)
            return Program(_kind_if(_binary_is_exporter(place, is_similar)))
        if start[:2] != b"#!":
            return Program(_kind_if(not start and all(map(_is_exporters_name, names))))
        text = self.text(path)
        if _is_for_shell(text):
            return Program(Kind.SHELL_SCRIPT, text)
        # What does not know the variable would not obey it.
        knows_variable = REMOTE_VARIABLE in text
        return Program(_kind_if(knows_variable and all(map(_is_exporters_name, names))))


def is_named_like_exporter(name: str) -> bool:
    """Whether a file's name is an exporter's, perhaps with something before it."""
    return _SIMILAR_NAME.fullmatch(name) is not None


def _is_exporters_name(path: str) -> bool:
    return _NAME.fullmatch(os.path.basename(path)) is not None


def _kind_if(is_exporter: bool) -> Kind:
    return Kind.EXPORTER if is_exporter else Kind.OTHER


def _is_for_shell(script: str) -> bool:
    words = map(os.path.basename, script.partition("\n")[0][2:].split())
    return next((word for word in words if word != "env"), "") in SHELLS


def _binary_is_exporter(place: str, is_similar: bool) -> bool:
    """Judge an ELF file by its main package; without one by its name and what it reads."""
    is_exporter = _go_package_is_exporter(place)
    if is_exporter is not None:
        return is_exporter
    try:
        with open(place, "rb") as file, _mapped(file) as content:
            # Some compilers and packers leave no section for the package.
            return content.find(_PACKAGE_OF_NVIDIA) >= 0 or (
                is_similar and content.find(REMOTE_VARIABLE.encode()) >= 0
            )
    except (OSError, ValueError):
        return False


def _mapped(file: BinaryIO) -> mmap.mmap:
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _go_package_is_exporter(place: str) -> bool | None:
    """Whether the main package of a program of Go is an exporter, None if it is none of Go."""
    try:
        with open(place, "rb") as file, _mapped(file) as content:
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
