"""Booted systems for the tests of the Debian package: of three releases, or DISTRIBUTIONS.

They need root, on Debian or, with DEBIAN_ARCHIVE=URL, on Ubuntu; elsewhere they are skipped.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.package import packages
from tests.package.archive import PORT, archives
from tests.package.layers import (
    CACHE,
    clean_system,
    debian_archive,
    made_once,
    system_with_dependencies,
)
from tests.package.leftovers import remove_leftovers
from tests.package.machine import booted, root_over, switched_on
from tests.package.packages import CLONE
from tests.package.system import System

DISTRIBUTIONS = tuple(os.environ.get("DISTRIBUTIONS", "bookworm trixie testing").split())
BUILD_TOOLS = ("apt-utils", "bash-completion", "debhelper", "dh-python", "dpkg-dev", "gcc", "git",
               "gnupg", "libc6-dev", "lintian", "po-debconf", "python3-configargparse", "rsync",
               "scdoc", "shellcheck")  # fmt: skip
TOOLS = ("curl", "dpkg-dev", "iproute2", "mmdebstrap", "piuparts", "systemd-container",
         "util-linux")  # fmt: skip

# Every simulated engine that starts would do that. By hash, since the next version may be built
# within the same second.
COMPILE_DCGM = ("python3", "-m", "compileall", "-q", "--invalidation-mode=checked-hash",
                "/usr/share/datacenter-gpu-manager-4")  # fmt: skip

Boot = Callable[..., AbstractContextManager[System]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that needs a distribution on all of them."""
    if "distribution" in metafunc.fixturenames:
        metafunc.parametrize("distribution", DISTRIBUTIONS, indirect=True, scope="session")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Skip what cannot be run here, with the reason; group tests that share a machine."""
    reason = why_not()
    for item in items:
        if {"life", "checked_machine"} & set(getattr(item, "fixturenames", ())):
            distribution = item.callspec.params["distribution"]
            item.add_marker(pytest.mark.xdist_group(f"{item.path.stem}-{distribution}"))
        if reason and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=f"tests of the Debian package {reason}"))


def why_not() -> str:
    """Return why the tests cannot run, if they cannot."""
    if not Path("/etc/debian_version").exists():
        return "need Debian or Ubuntu"
    if os.geteuid() != 0:
        return "need root"
    return "" if debian_archive() else "need DEBIAN_ARCHIVE=URL where apt has no sources of Debian"


@pytest.fixture(scope="session")
def tools() -> None:
    """Install what the tests need on this machine."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "tools.lock").open("w") as lock:  # other processes may be installing, too
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([CLONE / "tools" / "need-packages", *TOOLS, *BUILD_TOOLS], check=True)
        remove_leftovers()


@pytest.fixture(scope="session")
def distribution(request: pytest.FixtureRequest) -> str:
    """The name of a distribution's release."""
    return str(request.param)


# --- packages ----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that all processes of this run share.

    Its contents are made once, whereas pytest recreates a distribution's fixture whenever the
    previous test was for another one.
    """
    directory = tmp_path_factory.getbasetemp()
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    return (directory.parent if is_worker else directory) / "shared"


@pytest.fixture(scope="session")
def dist(tools: None, shared: Path) -> Path:
    """A directory with our packages, freshly built."""
    return built(shared / "dist", "binary")


@pytest.fixture(scope="session")
def source(tools: None, shared: Path) -> Path:
    """The description of our source package."""
    return next(built(shared / "source", "source").glob("*.dsc"))


def built(place: Path, kind: str) -> Path:
    """Build packages of a kind into a directory, once."""

    def build(directory: Path) -> None:
        new = directory.with_name(f"{directory.name}.new")
        subprocess.run([CLONE / "tools" / "make-deb", new, kind], check=True)
        new.rename(directory)

    return made_once(place, build)


@pytest.fixture(scope="session")
def exporter(dist: Path) -> Path:
    """The package do-dcgm-exporter."""
    return next(dist.glob("do-dcgm-exporter_*.deb"))


@pytest.fixture(scope="session")
def simulator(dist: Path) -> Path:
    """The package dcgm-simulator."""
    return next(dist.glob("dcgm-simulator_*.deb"))


@pytest.fixture(scope="session")
def workshop(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for packages that the tests build."""
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="session")
def dcgm4(workshop: Path) -> Path:
    """NVIDIA's DCGM 4.5.3."""
    return packages.dcgm4(workshop, "4.5.3")


@pytest.fixture(scope="session")
def newer_dcgm4(workshop: Path) -> Path:
    """NVIDIA's DCGM 4.6.0, whose clients cannot read from an older engine."""
    return packages.dcgm4(workshop, "4.6.0")


@pytest.fixture(scope="session")
def dcgm47(workshop: Path) -> dict[str, Path]:
    """NVIDIA's DCGM 4.7.0 by its packages."""
    return packages.dcgm47(workshop)


@pytest.fixture(scope="session")
def dcgm3(workshop: Path) -> Path:
    """NVIDIA's DCGM 3.3.9."""
    return packages.dcgm3(workshop)


# --- systems -----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def dependencies(tools: None, distribution: str) -> list[Path]:
    """The layers of a system with all dependencies but DCGM."""
    return system_with_dependencies(distribution)


@pytest.fixture(scope="session")
def clean(tools: None, distribution: str) -> list[Path]:
    """The layers of a system with nothing of ours."""
    return clean_system(distribution)


@pytest.fixture(scope="session")
def with_dcgm(dependencies: list[Path], dcgm4: Path, shared: Path, distribution: str) -> list[Path]:
    """The layers of a system that also has DCGM 4."""
    return layer_with(dependencies, shared / f"{distribution}-with-dcgm", dcgm4, then=COMPILE_DCGM)


@pytest.fixture(scope="session")
def with_exporter(
    with_dcgm: list[Path], exporter: Path, shared: Path, distribution: str
) -> list[Path]:
    """The layers of a system on which the exporter was installed while it ran."""
    return layer_with(with_dcgm, shared / f"{distribution}-with-exporter", exporter)


def layer_with(
    below: list[Path], layer: Path, *installed: Path, then: Sequence[str] = ()
) -> list[Path]:
    """Install packages in a running system, and keep what was written as ``layer``."""

    def make(layer: Path) -> None:
        with root_over(below) as root:
            with switched_on(root) as machine:
                System(machine).install(*installed)
                if then:
                    machine.run(*then)
                machine.shut_down()
            root.keep(layer)

    return [made_once(layer, make), *below]


@contextmanager
def system_over(layers: Sequence[Path]) -> Iterator[System]:
    """Boot a system over layers."""
    with booted(layers) as machine:
        yield System(machine)


@contextmanager
def system_with_apt(layers: Sequence[Path], **repositories: Path) -> Iterator[System]:
    """Boot a system whose apt reaches the distribution's archive, and these at PORT/NAME."""
    with system_over(layers) as system, archives(system.machine, **repositories):
        host = urlsplit(debian_archive()).hostname
        proxy = f'Acquire::http::Proxy::{host} "http://127.0.0.1:{PORT}";\n'
        system.write("/etc/apt/apt.conf.d/80test", proxy)
        yield system


@pytest.fixture
def new_system(with_dcgm: list[Path]) -> Iterator[System]:
    """A running system with DCGM 4, on which the exporter is not installed yet."""
    with system_over(with_dcgm) as system:
        yield system


@pytest.fixture
def installed(with_exporter: list[Path]) -> Iterator[System]:
    """A running system on which the exporter was installed without any question."""
    with system_over(with_exporter) as system:
        yield system


@pytest.fixture
def bare_system(dependencies: list[Path]) -> Iterator[System]:
    """A running system with all dependencies but DCGM."""
    with system_over(dependencies) as system:
        yield system


@pytest.fixture
def image_with_ours(with_dcgm: list[Path], exporter: Path) -> Iterator[System]:
    """The first boot of an image in which our engine and a port were chosen by preseeding."""
    with root_over(with_dcgm) as root:
        answers = (
            "do-dcgm-exporter do-dcgm-exporter/engine select ours\n"
            "do-dcgm-exporter do-dcgm-exporter/address string :9500\n"
        )
        (root.path / "var" / "tmp" / "answers").write_text(answers)
        (root.path / "var" / "tmp" / exporter.name).write_bytes(exporter.read_bytes())
        root.run("debconf-set-selections", "/var/tmp/answers")
        root.run("dpkg", "--install", f"/var/tmp/{exporter.name}")
        (root.path / "etc" / "machine-id").unlink(missing_ok=True)
        with switched_on(root) as machine:
            yield System(machine)
