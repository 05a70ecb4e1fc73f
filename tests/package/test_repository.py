"""The README's apt lines, word for word, in a clean system with apt and nothing else."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tests.package import packages
from tests.package.archive import PORT
from tests.package.conftest import system_with_apt
from tests.package.machine import CommandFailed
from tests.package.packages import CLONE
from tests.package.system import CONF, EXPORTER, System, setting

OURS = "https://digitalocean.github.io/do-dcgm-exporter/apt"
NVIDIAS = ("developer.download.nvidia.com", "cuda-keyring")  # lines that add its repository


def make_repository(directory: Path, *packages: Path) -> Path:
    subprocess.run([CLONE / "tools" / "make-apt-repo", directory, *packages], check=True)
    return directory


@pytest.fixture(scope="session")
def ours(exporter: Path, simulator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our repository."""
    return make_repository(tmp_path_factory.mktemp("ours") / "apt", exporter, simulator)


@pytest.fixture(scope="session")
def nvidias(dcgm4: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands in for NVIDIA's repository today."""
    return make_repository(tmp_path_factory.mktemp("nvidia") / "apt", dcgm4)


@pytest.fixture(scope="session")
def nvidias_dcgm3(dcgm3: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that has nothing but DCGM 3."""
    return make_repository(tmp_path_factory.mktemp("nvidia3") / "apt", dcgm3)


def readme_lines(title: str) -> str:
    """Return the shell lines of a section of the README, for the test's servers."""
    section = (CLONE / "README.md").read_text().split(f"### {title}\n", 1)[1].split("\n#", 1)[0]
    lines = "\n".join(re.findall(r"(?m)^    (.*)$", section))
    assert OURS in lines
    return lines.replace("sudo ", "").replace(OURS, f"http://127.0.0.1:{PORT}/ours")


def droplet_lines() -> str:
    """Return the lines for a droplet but those that add NVIDIA's repository."""
    lines = readme_lines("A droplet with GPUs").splitlines()
    assert all(any(part in line for line in lines) for part in NVIDIAS)
    return "\n".join(line for line in lines if not any(part in line for part in NVIDIAS))


def add_nvidia(system: System) -> None:
    """Add the stand-in for NVIDIA's repository, as NVIDIA's keyring package does."""
    key = "/etc/apt/keyrings/nvidia.asc"
    url = f"http://127.0.0.1:{PORT}/nvidia/do-dcgm-exporter.asc"
    system.run("curl", "-fsS", "--create-dirs", "-o", key, url)
    system.write(
        "/etc/apt/sources.list.d/nvidia.sources",
        f"Types: deb\nURIs: http://127.0.0.1:{PORT}/nvidia\nSuites: stable\nComponents: main\n"
        f"Signed-By: {key}\n",
    )


def run_lines(system: System, lines: str) -> str:
    """Run shell lines with the debconf frontend of a terminal; any question would fail."""
    result = system.run("sh", "-euc", lines, environ={"DEBIAN_FRONTEND": "teletype"}, said="")
    return result.stdout + result.stderr


def test_the_lines_for_a_droplet_end_with_metrics(
    clean: list[Path], ours: Path, nvidias: Path
) -> None:
    with system_with_apt(clean, ours=ours, nvidia=nvidias) as system:
        add_nvidia(system)
        said = run_lines(system, droplet_lines())

        assert "Configuring do-dcgm-exporter" not in said
        assert system.has_full_metrics()
        assert system.is_active(EXPORTER)
        assert setting(system.read(CONF), "engine") == ["nvidia"]


def test_the_lines_for_a_machine_without_a_gpu_end_with_metrics(
    clean: list[Path], ours: Path
) -> None:
    with system_with_apt(clean, ours=ours) as system:
        said = run_lines(system, readme_lines("A machine without a GPU"))

        assert "Configuring do-dcgm-exporter" not in said
        assert system.has_full_metrics()
        assert "(simulated)" in system.page()


def test_the_go_packages_own_source_brings_ours_and_what_follows_it(
    with_dcgm: list[Path], exporter: Path, workshop: Path, tmp_path: Path
) -> None:
    ours = make_repository(tmp_path / "apt", exporter)
    dearmored = ["gpg", "--dearmor", "--output", "-", ours / "do-dcgm-exporter.asc"]
    key = subprocess.run(dearmored, check=True, capture_output=True).stdout
    source = f"deb http://127.0.0.1:{PORT}/ubuntu noble extras\n"
    install = "apt-get update && apt-get install -y do-dcgm-exporter"
    with system_with_apt(with_dcgm, ubuntu=ours) as system:
        system.install(packages.go_exporter(workshop, source, key))
        said = run_lines(system, install)
        assert not re.search("(?m)^[EW]: ", said), said
        assert system.has_full_metrics()

        make_repository(ours, packages.as_version(exporter, "9.9", workshop))
        run_lines(system, install)
        assert system.has_full_metrics()
        assert system.run("dpkg-query", "-Wf", "${Version}", "do-dcgm-exporter").stdout == "9.9"


def test_indices_are_fetched_by_their_hash(ours: Path) -> None:
    for suite in (ours / "dists").iterdir():
        release = (suite / "Release").read_text()
        assert "Acquire-By-Hash: yes\n" in release
        listed = re.findall(r"(?m)^ ([0-9a-f]{64}) +\d+ (\S+)$", release)
        assert listed
        for digest, path in listed:
            by_hash = (suite / path).parent / "by-hash" / "SHA256" / digest
            assert by_hash.read_bytes() == (suite / path).read_bytes()


def test_without_nvidias_repository_apt_refuses_and_says_why(clean: list[Path], ours: Path) -> None:
    with system_with_apt(clean, ours=ours) as system:
        with pytest.raises(CommandFailed, match="datacenter-gpu-manager") as caught:
            run_lines(system, droplet_lines())

        assert "unmet dependencies" in str(caught.value)
        assert "dcgm-simulator" not in str(caught.value)


def test_where_nvidia_has_only_dcgm_3_that_is_taken(
    clean: list[Path], ours: Path, nvidias_dcgm3: Path
) -> None:
    with system_with_apt(clean, ours=ours, nvidia=nvidias_dcgm3) as system:
        add_nvidia(system)
        run_lines(system, droplet_lines())

        assert "ii  datacenter-gpu-manager " in system.run("dpkg", "--list").stdout
        assert system.has_full_metrics()
