"""Finding and loading a bindings directory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dcgm_simulator
from do_dcgm_exporter.dcgm import bindings as room
from do_dcgm_exporter.dcgm.bindings import (
    SEARCH_PATH,
    BindingsError,
    _library_to_install,
    _package_of_bindings,
    load_bindings,
)
from do_dcgm_exporter.dcgm.health_errors import NO_ERROR, HealthError

STRUCTS = """
import ctypes

class DCGMError(Exception):
    value = -25

class c_dcgmFieldValue_v2(ctypes.Structure):
    _fields_ = [("head", ctypes.c_char * {head}), ("value", ctypes.c_char * 4096)]

def _dcgmInit(libDcgmPath=None):
    {init}

RELEASE = {release!r}
"""
MODULES = (
    *("dcgm_structs", "dcgm_fields", "dcgmvalue", "dcgm_agent", "dcgm_errors"),
    "dcgm_sibling",
)


@pytest.fixture(autouse=True)
def clean_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave modules and the search path as they were."""
    before = {name: sys.modules.pop(name, None) for name in MODULES}
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


@pytest.fixture
def search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The two places to look in, empty."""
    places = (tmp_path / "four", tmp_path / "three")
    monkeypatch.setattr(room, "SEARCH_PATH", places)
    return places


def install(directory: Path, release: str = "", init: str = "pass", head: int = 32) -> Path:
    """Put bindings of one release into ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    structs = STRUCTS.format(release=release, init=init, head=head)
    (directory / "dcgm_structs.py").write_text(structs)
    (directory / "dcgm_agent.py").write_text("import dcgm_structs\ndef dcgmInit(): pass\n")
    for name in ("dcgm_fields", "dcgmvalue"):
        (directory / f"{name}.py").touch()
    return directory


def loaded(directory: Path | None = None) -> str:
    """Load bindings; which release they are, as all their modules see it."""
    found = load_bindings(directory)
    assert found.structs is found.agent.dcgm_structs
    return str(found.structs.RELEASE)


def test_dcgm_4_is_preferred(search_path: tuple[Path, Path]) -> None:
    install(search_path[0], "4")
    install(search_path[1], "3")
    assert "4" == loaded()


def test_dcgm_3_will_do(search_path: tuple[Path, Path]) -> None:
    install(search_path[1], "3")
    assert "3" == loaded()


def test_a_directory_that_is_named_is_the_only_one(
    search_path: tuple[Path, Path], tmp_path: Path
) -> None:
    install(search_path[0], "4")
    assert "own" == loaded(install(tmp_path / "own", "own"))
    with pytest.raises(BindingsError, match=r"are not in .*elsewhere: install"):
        load_bindings(tmp_path / "elsewhere")


def test_without_bindings_the_error_says_where_it_looked_and_what_to_install(
    search_path: tuple[Path, Path],
) -> None:
    with pytest.raises(BindingsError) as caught:
        load_bindings()
    expected = (
        f"DCGM's Python bindings are not in {search_path[0]} and {search_path[1]}:"
        " install datacenter-gpu-manager-4-core and, from DCGM 4.7 on,"
        " datacenter-gpu-manager-4-python3"
    )
    assert expected == str(caught.value)


def test_what_is_installed_tells_which_package_is_missing(tmp_path: Path) -> None:
    both = "datacenter-gpu-manager-4-core and, from DCGM 4.7 on, datacenter-gpu-manager-4-python3"
    assert both == _package_of_bindings(tmp_path)
    assert ": install libdcgm" == _library_to_install(SEARCH_PATH[0], tmp_path)
    library = tmp_path / "lib" / "x86_64-linux-gnu" / "libdcgm.so.4"
    library.parent.mkdir(parents=True)
    library.touch()
    assert "datacenter-gpu-manager-4-python3" == _package_of_bindings(tmp_path)
    assert "" == _library_to_install(SEARCH_PATH[0], tmp_path)
    assert "" == _library_to_install(SEARCH_PATH[1], tmp_path / "elsewhere")


def test_bindings_without_their_library_make_way_for_others(
    search_path: tuple[Path, Path],
) -> None:
    install(search_path[0], "4", init="raise DCGMError('The library was not found')")
    install(search_path[1], "3")
    assert "3" == loaded()


def test_a_missing_library_is_named_with_dcgms_words(
    search_path: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_has_library", lambda _usr: False)
    install(search_path[0], init="raise DCGMError('The library was not found')")
    install(search_path[1], init="raise DCGMError()")
    with pytest.raises(BindingsError) as caught:
        load_bindings()
    expected = (
        f"the bindings in {search_path[0]} cannot load their libdcgm (The library was not found)"
        ": install libdcgm; "
        f"the bindings in {search_path[1]} cannot load their libdcgm (DCGM error -25)"
    )
    assert expected == str(caught.value)


def test_a_missing_library_does_not_stay_missing(search_path: tuple[Path, Path]) -> None:
    marker = search_path[0].parent / "libdcgm"
    install(
        search_path[0],
        "4",
        init=f"import os\n    if not os.path.exists({str(marker)!r}): raise DCGMError('missing')",
    )
    with pytest.raises(BindingsError):
        load_bindings()
    marker.touch()
    assert "4" == loaded()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("raise ImportError('no logger')", "do not import: no logger"),
        ("def", "do not import"),
        ("raise OSError('broken')", "do not import: broken"),
    ],
)
def test_bindings_that_do_not_import_are_named(tmp_path: Path, content: str, words: str) -> None:
    directory = install(tmp_path / "broken")
    (directory / "dcgm_agent.py").write_text(content)
    with pytest.raises(BindingsError, match=f"the bindings in {directory} {words}"):
        load_bindings(directory)


@pytest.mark.parametrize("head", [24, 40])
def test_values_of_an_unknown_layout_are_refused(tmp_path: Path, head: int) -> None:
    with pytest.raises(BindingsError, match="unknown value layout"):
        load_bindings(install(tmp_path / "future", head=head))


def test_bindings_without_the_value_structure_are_refused(tmp_path: Path) -> None:
    directory = install(tmp_path / "ancient")
    structs = directory / "dcgm_structs.py"
    structs.write_text(structs.read_text().replace("c_dcgmFieldValue_v2", "c_dcgmFieldValue_v1"))
    with pytest.raises(BindingsError, match="unknown value layout"):
        load_bindings(directory)


def test_directories_can_be_switched(tmp_path: Path) -> None:
    first, second = install(tmp_path / "a", "a"), install(tmp_path / "b", "b")
    found = [loaded(directory) for directory in (first, second, first, second)]
    assert ["a", "b", "a", "b"] == found


def test_siblings_of_the_modules_are_switched_along(tmp_path: Path) -> None:
    found = []
    for release in ("a", "b"):
        directory = install(tmp_path / release, release)
        (directory / "dcgm_sibling.py").write_text(f"RELEASE = {release!r}\n")
        (directory / "dcgm_agent.py").write_text(
            "import dcgm_structs, dcgm_sibling\ndef dcgmInit(): pass\n"
        )
        found.append(load_bindings(directory).agent.dcgm_sibling.RELEASE)
    assert ["a", "b"] == found


def test_bindings_that_failed_do_not_hide_those_after_them(tmp_path: Path) -> None:
    broken, good = install(tmp_path / "a", "a"), install(tmp_path / "b", "b")
    (broken / "dcgm_fields.py").write_text("raise ImportError")
    with pytest.raises(BindingsError):
        load_bindings(broken)
    assert "b" == loaded(good)


def test_modules_of_the_directory_hide_nobody_elses(tmp_path: Path) -> None:
    directory = install(tmp_path / "a")
    (directory / "common.py").touch()
    before = list(sys.path)
    load_bindings(directory)
    assert before == sys.path


def test_modules_of_the_directory_come_last(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise ImportError")
    directory = install(tmp_path, "a")
    structs = directory / "dcgm_structs.py"
    structs.write_text(f"import json\n{structs.read_text()}")
    assert "a" == loaded(directory)


def test_health_errors_have_their_names_where_the_bindings_tell_them(tmp_path: Path) -> None:
    directory = install(tmp_path / "a")
    assert {0: NO_ERROR} == load_bindings(directory).health_errors
    (directory / "dcgm_errors.py").write_text(
        "DCGM_FR_OK = 0\nDCGM_FR_VOLATILE_DBE_DETECTED = 4\nDCGM_FR_EC_NONE = 0\nOTHER = 9\n"
        "DCGM_FR_TEXT = 'x'\nDCGM_ERROR_NONE = 0\n"
        "def dcgmErrorGetPriorityByCode(code): return 2\n"
        "def dcgmErrorGetCategoryByCode(code): return 10\n"
    )
    double_bit = HealthError("DCGM_FR_VOLATILE_DBE_DETECTED", "ISOLATE", "HARDWARE_MEMORY")
    expected = {0: NO_ERROR, 4: double_bit}
    assert expected == load_bindings(directory).health_errors


def test_the_simulators_bindings_are_known_as_such(tmp_path: Path) -> None:
    assert load_bindings(dcgm_simulator.bindings_directory()).simulated
    assert not load_bindings(install(tmp_path / "a")).simulated


def replace_file(directory: Path) -> None:
    """Put another file in the place of one, as dpkg does."""
    (directory / "new").write_text("RELEASE = 'another'\n")
    (directory / "new").replace(directory / "dcgm_structs.py")


def test_bindings_were_replaced_once_other_files_are_there(search_path: tuple[Path, Path]) -> None:
    found = load_bindings(install(search_path[0], "4"))
    assert not found.were_replaced()
    replace_file(search_path[0])
    assert found.were_replaced()


def test_another_major_release_replaces_bindings_that_are_gone(
    search_path: tuple[Path, Path],
) -> None:
    install(search_path[1], "3")
    found = load_bindings()
    (search_path[1] / "dcgm_structs.py").unlink()
    assert not found.were_replaced(), "there is nothing else to load"
    install(search_path[0], "4")
    assert found.were_replaced()


def test_what_lies_where_nobody_looks_replaces_nothing(
    search_path: tuple[Path, Path], tmp_path: Path
) -> None:
    found = load_bindings(install(tmp_path / "own", "own"))
    install(search_path[0], "4")
    assert not found.were_replaced()


def test_what_replaces_bindings_that_did_not_load_is_loaded(tmp_path: Path) -> None:
    directory = install(tmp_path / "own", "4.5.3", init="raise DCGMError('no library')")
    with pytest.raises(BindingsError):
        load_bindings(directory)
    for cached in (directory / "__pycache__").glob("*"):
        cached.unlink()
    assert "4.6.0" == loaded(install(directory, "4.6.0"))
