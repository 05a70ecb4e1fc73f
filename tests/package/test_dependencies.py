"""What apt makes of the package's dependencies on each generation of NVIDIA's packages."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tests.package.packages import CLONE

# Of 4.7 the relations between the packages are not known. What needs the library may say so.
DCGM_3 = {"datacenter-gpu-manager": "1:3.3.9"}
DCGM_46 = {"datacenter-gpu-manager-4-core": "1:4.6.0-1"}
DCGM_47 = dict.fromkeys(
    ("datacenter-gpu-manager-4-core", "datacenter-gpu-manager-4-python3", "libdcgm",
     "nv-hostengine"), "1:4.7.0-1",
)  # fmt: skip
NEEDS_LIBRARY = ("datacenter-gpu-manager-4-python3", "nv-hostengine")
OURS = "do-dcgm-exporter"


def paragraph(name: str, version: str, **more: str) -> str:
    """A package as the package system lists it."""
    conflict = {"datacenter-gpu-manager-4-core": "datacenter-gpu-manager"}.get(name)
    fields = {"Package": name, "Version": version, "Architecture": "amd64", "Maintainer": "x"}
    fields |= {"Conflicts": conflict} if conflict else {}
    return "".join(f"{key}: {value}\n" for key, value in (fields | more).items()) + "\n"


def dependencies_on_dcgm() -> str:
    """Those of debian/control that are on packages of NVIDIA's."""
    control = (CLONE / "debian" / "control").read_text()
    match = re.search(
        r"^Package: do-dcgm-exporter\n.*?^Depends: (.*?)^\w", control, re.MULTILINE | re.DOTALL
    )
    assert match is not None
    clauses = [" ".join(clause.split()) for clause in match[1].split(",")]
    return ", ".join(c for c in clauses if "gpu-manager" in c or "hostengine" in c)


class Apt:
    """An apt of its own: what is installed, and one archive."""

    def __init__(
        self,
        root: Path,
        installed: dict[str, str],
        offered: dict[str, str],
        relations: dict[str, dict[str, str]] | None = None,
    ) -> None:
        self.root = root
        for name in ("state/lists/partial", "cache/archives/partial", "archive"):
            (root / name).mkdir(parents=True)
        files = {"Filename": "./x.deb", "Size": "1", "SHA256": 64 * "0"}
        ours = paragraph(OURS, "1.0", Depends=dependencies_on_dcgm(), **files)
        theirs = [
            paragraph(name, version, **files, **(relations or {}).get(name, {}))
            for name, version in offered.items()
        ]
        (root / "archive" / "Packages").write_text(ours + "".join(theirs))
        status = [
            paragraph(name, version, Status="install ok installed")
            for name, version in installed.items()
        ]
        (root / "status").write_text("".join(status))
        (root / "sources.list").write_text(f"deb [trusted=yes] file:{root}/archive ./\n")
        self.run("update")

    def run(self, *arguments: str) -> str:
        options = {
            "Dir::State": "state",
            "Dir::State::status": "status",
            "Dir::Cache": "cache",
            "Dir::Etc::sourcelist": "sources.list",
            "Dir::Etc::sourceparts": "none",
            "Dir::Etc::preferencesparts": "none",
        }
        flags = [f"-o{key}={self.root / value}" for key, value in options.items()]
        flags += ["-oAPT::Sandbox::User=root", "-oDebug::NoLocking=1", "-oAPT::Architecture=amd64"]
        done = subprocess.run(
            ["apt-get", *flags, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def installs(self, *flags: str) -> tuple[set[str], set[str]]:
        """What installing ours would install besides, and what it would remove."""
        said = self.run("--simulate", *flags, "install", OURS)
        new = set(re.findall(r"^Inst (\S+)", said, re.MULTILINE))
        return new - {OURS}, set(re.findall(r"^Remv (\S+)", said, re.MULTILINE))


@pytest.mark.parametrize("dcgm", [DCGM_3, DCGM_46, DCGM_47], ids=["3.3.9", "4.6.0", "4.7.0"])
def test_what_is_there_is_enough(tmp_path: Path, dcgm: dict[str, str]) -> None:
    everything = DCGM_3 | DCGM_47
    assert Apt(tmp_path, dcgm, everything).installs() == (set(), set())


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        (DCGM_3, set(DCGM_3)),
        (DCGM_46, set(DCGM_46)),
        (DCGM_3 | DCGM_46, set(DCGM_46)),
        (DCGM_3 | DCGM_47, {"datacenter-gpu-manager-4-python3", "nv-hostengine"}),
    ],
    ids=["3.3.9", "4.6.0", "3.3.9 and 4.6.0", "3.3.9 and 4.7.0"],
)
def test_the_newest_that_there_is_gets_installed(
    tmp_path: Path, offered: dict[str, str], taken: set[str]
) -> None:
    assert Apt(tmp_path, {}, offered).installs("--no-install-recommends") == (taken, set())


def test_the_library_passes_for_neither_engine_nor_bindings(tmp_path: Path) -> None:
    """It comes with the one, and must not keep the other away."""
    relations = {name: {"Depends": "libdcgm (= 1:4.7.0-1)"} for name in NEEDS_LIBRARY}
    taken, removed = Apt(tmp_path, {}, DCGM_3 | DCGM_47, relations).installs()
    assert (taken, removed) == ({*NEEDS_LIBRARY, "libdcgm"}, set())


def test_dcgm_3_never_comes_over_the_core_of_dcgm_4(tmp_path: Path) -> None:
    """Bindings of 4.7 may be in no archive; that 3.3.9 has some must not replace what is there."""
    core = {"datacenter-gpu-manager-4-core": "1:4.7.0-1"}
    assert Apt(tmp_path, core, DCGM_3).installs() == (set(), set())
