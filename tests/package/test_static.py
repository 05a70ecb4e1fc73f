"""What can be judged without booting anything, Ubuntu's releases included."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from tests.package.layers import DEPENDENCIES, system_with
from tests.package.machine import root_over
from tests.package.packages import CLONE, Package, copy_clone

from do_dcgm_exporter.config.options import OPTIONS

SCRIPTS = ("do-dcgm-exporter.config", "do-dcgm-exporter.postinst", "do-dcgm-exporter.prerm",
           "do-dcgm-exporter.postrm", "dcgm-simulator.postinst", "dcgm-simulator.prerm",
           "dcgm-simulator.postrm", "bin/connect-exporters", "bin/engine", "bin/may-act",
           "bin/port-is-free", "bin/start-clients")  # fmt: skip
UNITS = sorted(
    path
    for path in (CLONE / "debian").rglob("*")
    if path.name.endswith((".service", "engine.conf", "exporter.conf"))
)

# What the distributions ship (python3, configargparse, prometheus_client, requests).
SHIPPED = {
    "Ubuntu 22.04": ("3.10", "1.5.3", "0.9", "2.25.1"),
    "Debian 12": ("3.11.2", "1.5.3", "0.16.0", "2.28.1"),
    "Ubuntu 24.04": ("3.12.3", "1.7", "0.19.0", "2.31.0"),
    "Ubuntu 26.04": ("3.14.4", "1.7", "0.21.1", "2.32.5"),
    "Debian 13": ("3.13.5", "1.7", "0.21.1", "2.32.3"),
}


@pytest.fixture(scope="session")
def unpacked(exporter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the package, and its control files in DEBIAN."""
    tree = tmp_path_factory.mktemp("unpacked") / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", exporter, tree], check=True)
    return tree


def test_two_builds_in_different_places_are_the_same(tools: None, tmp_path: Path) -> None:
    clone = tmp_path / "another" / "clone"
    copy_clone(clone)
    subprocess.run(["git", "init", "--quiet"], cwd=clone, check=True)
    subprocess.run(["tools/make-deb", tmp_path / "first"], cwd=clone, check=True)
    clone = clone.rename(tmp_path / "elsewhere")
    subprocess.run(
        ["sh", "-c", "umask 077; tools/make-deb ../second"], cwd=clone, check=True,
        env=os.environ | {"TZ": "Asia/Tokyo", "LC_ALL": "C"},
    )  # fmt: skip

    builds = [sorted((tmp_path / name).glob("*.deb")) for name in ("first", "second")]
    assert len(builds[0]) == 2
    assert [deb.read_bytes() for deb in builds[0]] == [deb.read_bytes() for deb in builds[1]]


LINTIAN = ("lintian", "--pedantic", "--display-experimental", "--info", "--allow-root")
ROOT_IS_TOLD = "running with root privileges is not recommended!"

# What is said of every package whose services need systemd, and by a lintian that is older.
NOT_OURS = re.compile(
    "package-supports-alternative-init-but-no-init.d-script|source: newer-standards-version"
)

Lint = Callable[..., list[str]]


def complaints_in(said: subprocess.CompletedProcess[str]) -> list[str]:
    """Errors, warnings and information; what kept lintian from looking fails the test."""
    errors = [line for line in said.stderr.splitlines() if line.strip() != ROOT_IS_TOLD]
    assert (said.returncode in (0, 2), errors) == (True, [])
    return [
        line
        for line in said.stdout.splitlines()
        if re.match("[EWI]:", line) and not NOT_OURS.search(line)
    ]


@pytest.fixture(scope="session")
def lint(tools: None) -> Lint:
    """This machine's lintian."""

    def look(*debs: Path) -> list[str]:
        command = [*LINTIAN, *debs]
        return complaints_in(subprocess.run(command, capture_output=True, text=True, check=False))

    return look


@contextmanager
def lint_of(distribution: str) -> Iterator[Lint]:
    """Give a release's lintian."""
    with root_over(system_with(distribution, "lintian")) as root:

        def look(*packages: Path) -> list[str]:
            for package in packages:
                # With what a source package's description names.
                for file in package.parent.glob(f"{package.stem}*"):
                    shutil.copy(file, root.path / "tmp")
            places = (f"/tmp/{package.name}" for package in packages)
            return complaints_in(root.run(*LINTIAN, *places, check=False))

        yield look


@pytest.fixture(scope="session", params=["here", "trixie", "testing"])
def any_lint(request: pytest.FixtureRequest, lint: Lint) -> Iterator[Lint]:
    """Each of them."""
    with nullcontext(lint) if request.param == "here" else lint_of(request.param) as found:
        yield found


def test_lintian_has_no_complaint(
    any_lint: Lint, exporter: Path, simulator: Path, source: Path
) -> None:
    assert any_lint(exporter, simulator, source) == []


def test_lintian_would_be_heard(any_lint: Lint, tmp_path: Path) -> None:
    flawed = Package(tmp_path, "flawed", "1").build()
    assert any(line.startswith("E: flawed: ") for line in any_lint(flawed))
    with pytest.raises(AssertionError, match=r"missing\.deb"):
        any_lint(flawed, tmp_path / "missing.deb")


def test_the_shell_scripts_are_sound(tools: None) -> None:
    paths = [str(CLONE / "debian" / name) for name in SCRIPTS]
    paths += [
        str(CLONE / "tools" / name) for name in ("make-deb", "make-apt-repo", "need-packages")
    ]
    # SC1091: debconf's library is not followed.
    subprocess.run(["shellcheck", "--shell=sh", "--exclude=SC1091", *paths], check=True)


def test_no_unit_keeps_scrapers_out() -> None:
    assert not any(re.search("(?m)^IPAddressDeny=", unit.read_text()) for unit in UNITS)


def test_nothing_but_the_one_name_is_depended_on() -> None:
    text = "".join(unit.read_text() for unit in UNITS)
    wanted = set(re.findall(r"(?m)^(?:Wants|Requires|BindsTo|After)=(.*)$", text))
    assert wanted == {
        "nvidia-gpu-reset.target", "nvidia-dcgm.service", "network.target nvidia-dcgm.service",
        "multi-user.target nvidia-dcgm.service", "do-dcgm-exporter-clients.service",
    }  # fmt: skip


def test_the_modules_are_python_310(unpacked: Path) -> None:
    for path in (unpacked / "usr/share/do-dcgm-exporter").rglob("*.py"):
        ast.parse(path.read_text(), str(path), feature_version=(3, 10))


@pytest.mark.parametrize("release", SHIPPED)
def test_a_release_has_what_we_depend_on(exporter: Path, release: str) -> None:
    depends = subprocess.run(
        ["dpkg-deb", "--field", str(exporter), "Depends"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for package, shipped in zip(DEPENDENCIES, SHIPPED[release], strict=True):
        wanted = re.search(rf"\b{package} \(>= ([^)]+)\)", depends)
        assert wanted, package
        compared = ["dpkg", "--compare-versions", shipped, "ge", wanted[1]]
        assert subprocess.run(compared, check=False).returncode == 0, (package, shipped)


def test_every_dependency_of_pyproject_is_one_of_the_package(exporter: Path) -> None:
    named = re.findall(r"# deb: (\S+ \(>= [^)]+\))", (CLONE / "pyproject.toml").read_text())
    depends = subprocess.run(
        ["dpkg-deb", "--field", str(exporter), "Depends", "Recommends"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert named
    assert [dependency for dependency in named if dependency not in depends] == []


def test_the_examples_are_there_to_be_used_as_they_are(unpacked: Path) -> None:
    """Not compressed: a dashboard is imported from there, and rules are copied."""
    installed = unpacked / "usr/share/doc/do-dcgm-exporter/examples"
    ours = CLONE / "examples"
    files = {path.relative_to(ours) for path in ours.rglob("*") if path.is_file()}
    assert {Path("prometheus/alerts.yml"), Path("grafana/host.json")} <= files
    assert {p.relative_to(installed) for p in installed.rglob("*") if p.is_file()} == files
    assert all((installed / f).read_bytes() == (ours / f).read_bytes() for f in files)


def test_every_link_of_the_documents_leads_somewhere(unpacked: Path) -> None:
    documents = unpacked / "usr/share/doc/do-dcgm-exporter"
    pages = list(documents.glob("docs/*.md"))
    assert documents / "docs" / "alerts.md" in pages  # which alerts.yml names
    links = [
        (page.name, target)
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert links == []


def plain(page: str) -> str:
    """Return a manual page without changes of font and escaped hyphens."""
    return re.sub(r"\\f[BIR]", " ", page).replace("\\-", "-")


FLAGS = sorted(flag for option in OPTIONS for flag in option.flags)


@pytest.mark.parametrize(
    "path",
    ["usr/share/man/man1/do-dcgm-exporter.1.gz",
     "usr/share/bash-completion/completions/do-dcgm-exporter"],
)  # fmt: skip
def test_every_option_is_documented_and_completed(unpacked: Path, path: str) -> None:
    text = subprocess.run(
        ["zcat", "--force", unpacked / path], capture_output=True, text=True, check=True
    ).stdout
    words = set(re.findall(r"(?<![\w-])-{1,2}[A-Za-z][a-z-]*", plain(text)))
    assert [flag for flag in FLAGS if flag not in words] == []


def test_every_key_is_in_the_manual_of_the_file(unpacked: Path) -> None:
    page = unpacked / "usr/share/man/man5/do-dcgm-exporter.conf.5.gz"
    text = subprocess.run(["zcat", page], capture_output=True, text=True, check=True).stdout
    words = set(re.findall(r"[a-z-]+", plain(text)))
    assert [option.name for option in OPTIONS if option.name not in words] == []


def test_every_question_is_an_option(unpacked: Path) -> None:
    templates = (unpacked / "DEBIAN" / "templates").read_text()
    found = re.findall(r"Template: do-dcgm-exporter/(.*)\nType: (.*)\n", templates)
    asked = {name for name, kind in found if kind != "error"}
    assert {"address", "forward", "engine"} <= asked
    # Whether the users of the GPUs are looked for is the state of a timer.
    assert asked - {option.name for option in OPTIONS} == {"gpu-users"}


def test_the_package_says_the_version_of_the_changelog(unpacked: Path) -> None:
    newest = re.match(r"\S+ \(([^)]+)\)", (CLONE / "debian" / "changelog").read_text())
    assert newest is not None
    installed = unpacked / "usr/share/do-dcgm-exporter/do_dcgm_exporter/VERSION"
    assert installed.read_text().strip() == newest[1]
    control = (unpacked / "DEBIAN" / "control").read_text()
    assert f"\nVersion: {newest[1]}\n" in control
