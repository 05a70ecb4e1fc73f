"""DCGM is upgraded beneath a running exporter: packages replace the files and restart nobody."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.e2e.conftest import Stage
from tests.e2e.exporter import Exporter

import dcgm_simulator

PACKAGE = Path(dcgm_simulator.__file__).parent
DEFAULT = "VERSIONS[-1])"


def install(release: str, directory: Path) -> Path:
    """Put the bindings of a release into ``directory`` as dpkg does: in place of other files."""
    new = directory.with_name(f"{directory.name}.new")
    package = shutil.copytree(
        PACKAGE, new / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__")
    )
    library = package / "bindings" / "simulated_library.py"
    text = library.read_text()
    assert text.count(DEFAULT) == 1
    library.write_text(text.replace(DEFAULT, f"{release!r})"))
    shutil.rmtree(directory, ignore_errors=True)
    new.rename(directory)
    return directory / PACKAGE.name / "bindings"


def releases(exporter: Exporter) -> tuple[str, str]:
    """Return the releases of the library and of the engine, as the page has them."""
    (info,) = exporter.page().samples("do_dcgm_exporter_build_info")
    return info.labels["dcgm_client"], info.labels["hostengine"]


def test_metrics_go_on_until_the_engine_is_the_new_one_as_well(
    stage: Stage, tmp_path: Path
) -> None:
    engine = stage.engine(version="4.5.3")
    exporter = stage.exporter(engine, dcgm_bindings=install("4.5.3", tmp_path / "dcgm"))
    exporter.wait_until_up()
    install("4.6.0", tmp_path / "dcgm")

    engine.restart()
    exporter.wait_for_log(" collecting", 2)
    assert releases(exporter) == ("4.5.3", "4.5.3")
    engine.restart("4.6.0")
    exporter.port = int(exporter.wait_for_log(" listens on port ", 2).rpartition(" ")[2])
    exporter.wait_until_up()
    assert releases(exporter) == ("4.6.0", "4.6.0")
    assert exporter.is_running, "it is the same process to whoever started it"
