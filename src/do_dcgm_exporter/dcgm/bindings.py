"""Find NVIDIA's Python bindings for DCGM and load them.

The directory determines the major version of DCGM: its ``dcgm_structs`` loads either
``libdcgm.so.3`` or ``libdcgm.so.4``. Only the flat modules are used: the classes of
``pydcgm`` keep handles and field groups in class-level tables that would grow with every
reconnection.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from do_dcgm_exporter.dcgm.decoding import FIELD_VALUE_OFFSET, FIELD_VALUE_SIZE
from do_dcgm_exporter.dcgm.health_errors import NO_ERROR, HealthError, health_errors
from do_dcgm_exporter.errors import ExporterError

# Where datacenter-gpu-manager-4-core (4.0 to 4.6), datacenter-gpu-manager-4-python3 (since
# 4.7) and datacenter-gpu-manager (3.x) put them.
SEARCH_PATH = (
    Path("/usr/share/datacenter-gpu-manager-4/bindings/python3"),
    Path("/usr/local/dcgm/bindings/python3"),
)

# The libraries of 4.x under /usr, on Debian and on other systems.
_LIBRARIES = ("lib/*/libdcgm.so.4", "lib64/libdcgm.so.4")

# dcgm_structs comes first because the others import it.
_MODULES = ("dcgm_structs", "dcgm_fields", "dcgmvalue", "dcgm_agent")

# A file only the simulator's bindings directory has.
_SIMULATOR_MARKER = "SIMULATED"

# Inode and mtime, which change when a package replaces a file.
_Identity = tuple[int, int]

_FIELD_VALUE_LAYOUT = (FIELD_VALUE_SIZE, FIELD_VALUE_OFFSET)


class BindingsError(ExporterError):
    """Raised if no bindings can be loaded; says where they were looked for and what to install."""


@dataclass(frozen=True, slots=True)
class Bindings:
    """Loaded bindings: the two modules that are called, and where they came from.

    ``health_errors`` are the errors of this release by code. ``files`` are the places that were
    searched, and what was there: None for nothing.
    """

    directory: Path
    structs: ModuleType
    agent: ModuleType
    health_errors: Mapping[int, HealthError]
    simulated: bool
    files: Mapping[Path, _Identity | None] = field(default_factory=dict)

    def were_replaced(self) -> bool:
        """Return whether others would be loaded now, for example after an upgrade of DCGM."""
        now = _files_in(self.files)
        return any(found not in (None, self.files[path]) for path, found in now.items())


def load_bindings(directory: Path | None = None) -> Bindings:
    """Load the bindings in ``directory``, or else the first in the search path that load.

    Raises BindingsError if there are none, or if none of them can load its libdcgm.
    """
    candidates = (directory,) if directory else SEARCH_PATH
    present = [path for path in candidates if (path / "dcgm_structs.py").is_file()]
    if not present:
        looked = " and ".join(str(path) for path in candidates)
        raise BindingsError(
            f"DCGM's Python bindings are not in {looked}: install {_package_of_bindings()}"
        )
    failures = []
    files = _files_in(candidates)
    for path in present:
        try:
            return replace(_load(path), files=files)
        except BindingsError as error:
            failures.append(str(error))
    raise BindingsError("; ".join(failures))


def _files_in(directories: Iterable[Path]) -> dict[Path, _Identity | None]:
    """Identify the bindings in each directory by one of their files.

    They are packaged together with the library that they load.
    """
    found: dict[Path, _Identity | None] = {}
    for directory in directories:
        try:
            status = os.stat(directory / "dcgm_structs.py")
        except OSError:
            found[directory] = None
        else:
            found[directory] = (status.st_ino, status.st_mtime_ns)
    return found


def _package_of_bindings(usr: Path = Path("/usr")) -> str:
    """Return the package to install, which depends on what is installed already.

    If there is a library of 4.x but no bindings, it is 4.7 or newer: until then both were in
    one package.
    """
    if _has_library(usr):
        return "datacenter-gpu-manager-4-python3"
    return "datacenter-gpu-manager-4-core and, from DCGM 4.7 on, datacenter-gpu-manager-4-python3"


def _has_library(usr: Path) -> bool:
    return any(True for pattern in _LIBRARIES for _ in usr.glob(pattern))


def _load(directory: Path) -> Bindings:
    with _importable(directory):
        structs, _, _, agent = _import_from(directory)
        errors = _errors_module()
    _check_layout(structs, directory)
    try:
        structs._dcgmInit()
        agent.dcgmInit()
    except structs.DCGMError as error:
        raise BindingsError(
            f"the bindings in {directory} cannot load their libdcgm ({_words(error)})"
            f"{_library_to_install(directory)}"
        ) from error
    known = health_errors(errors) if errors else {0: NO_ERROR}
    simulated = (directory / _SIMULATOR_MARKER).exists()
    return Bindings(directory, structs, agent, known, simulated)


def _library_to_install(directory: Path, usr: Path = Path("/usr")) -> str:
    """Return what to install for bindings of 4.7 that lack their library, a separate package."""
    return "" if directory != SEARCH_PATH[0] or _has_library(usr) else ": install libdcgm"


def _errors_module() -> ModuleType | None:
    """Import the module that names health errors, which the directory may lack."""
    try:
        return importlib.import_module("dcgm_errors")
    except ImportError:
        return None


class _Finder:
    """Finds the modules of one directory, like an entry of sys.path.

    sys.path itself is left alone because other threads may be importing.
    """

    def __init__(self, directory: Path) -> None:
        self._path = [str(directory)]

    def find_spec(
        self, name: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a top-level module, as the protocol of sys.meta_path demands."""
        return PathFinder.find_spec(name, self._path) if path is None else None


@contextmanager
def _importable(directory: Path) -> Iterator[None]:
    """Let modules be found in ``directory``, and forget those of an earlier attempt.

    The directory comes last, and only for a moment: it has modules with names as general as
    ``common``, which must not shadow others.
    """
    for other in {_home(sys.modules[name]) for name in _MODULES if name in sys.modules}:
        if other is not None:
            _forget_modules_of(other)
    importlib.invalidate_caches()
    finder = _Finder(directory)
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def _forget_modules_of(directory: Path) -> None:
    for name, module in tuple(sys.modules.items()):
        if _home(module) == directory:
            del sys.modules[name]


def _home(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file).parent if file else None


def _import_from(directory: Path) -> list[ModuleType]:
    try:
        return [importlib.import_module(name) for name in _MODULES]
    except (ImportError, SyntaxError, OSError) as error:
        raise BindingsError(f"the bindings in {directory} do not import: {error}") from error


def _check_layout(structs: ModuleType, directory: Path) -> None:
    """Refuse bindings whose value layout is not the one the decoder reads."""
    layout = getattr(structs, "c_dcgmFieldValue_v2", None)
    if layout is None or (ctypes.sizeof(layout), layout.value.offset) != _FIELD_VALUE_LAYOUT:
        raise BindingsError(f"the bindings in {directory} have an unknown value layout")


def _words(error: Exception) -> str:
    """Return DCGM's own text for an error; the bindings' ``_dcgmErrorString`` is broken."""
    return str(error) or f"DCGM error {getattr(error, 'value', '?')}"
