"""Boot a real systemd over temporary layers of a root file system, in half a second.

It is PID 1 in its own PID namespace, so the host's PID 1 may be anything. Needs root and
Debian's systemd-container, iproute2 and util-linux. `stop` removes everything made on the
host: a cgroup, a network namespace and a mount.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.package.network import Network

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "DEBIAN_FRONTEND": "noninteractive",
}
# Names contain our process id, so that leftovers of killed runs are recognized (leftovers.py).
NAME_PREFIX = "dodcgm"
SCRATCH_PREFIX = "do-dcgm-exporter-test"

BOOT_TIMEOUT = 300.0
STOP_TIMEOUT = 90.0
COMMAND_TIMEOUT = 900.0

# Of systemd's generators, the ones that may find something in a container; the rest costs half of
# the time of a reload.
GENERATORS = Path("usr/lib/systemd/system-generators")
USEFUL_GENERATORS = {"systemd-rc-local-generator", "systemd-sysv-generator"}

_numbers = itertools.count(1)


class NotBooted(Exception):
    """Raised if a machine does not boot; the text is its console."""


class CommandFailed(Exception):
    """Raised if a command in a machine fails; the text has all its output."""

    def __init__(self, command: Sequence[str], result: subprocess.CompletedProcess[str]) -> None:
        super().__init__(
            f"{' '.join(command)}: status {result.returncode}\n{result.stdout}{result.stderr}"
        )


class Root:
    """A root file system: read-only layers, and a writable one in memory."""

    def __init__(self, layers: Sequence[Path]) -> None:
        """Mount it; the lowest of the layers is the last."""
        self._scratch = Path(tempfile.mkdtemp(prefix=f"{SCRATCH_PREFIX}-{os.getpid()}-"))
        self.path = self._scratch / "root"
        self.written = self._scratch / "memory" / "written"
        for directory in (self.path, self._scratch / "memory"):
            directory.mkdir()
        _host("mount", "-t", "tmpfs", "none", str(self._scratch / "memory"))
        for directory in (self.written, self._scratch / "memory" / "work"):
            directory.mkdir(mode=0o755)
        lower = ":".join(map(str, layers))
        options = f"lowerdir={lower},upperdir={self.written},workdir={self.written.parent}/work"
        _host("mount", "-t", "overlay", "overlay", "-o", options, str(self.path))

    def run(
        self,
        *command: str,
        check: bool = True,
        environ: Mapping[str, str] | None = None,
        seconds: float = COMMAND_TIMEOUT,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it, without systemd; return its output."""
        inside = ["unshare", "--mount", "--pid", "--fork", f"--mount-proc={self.path}/proc"]
        inside += ["chroot", str(self.path)]
        return _run([*inside, *_env(environ), *command], command, check, None, seconds)

    def keep(self, layer: Path) -> Path:
        """Copy what was written to ``layer``, for use below others."""
        new = layer.with_name(f"{layer.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.parent.mkdir(parents=True, exist_ok=True)
        # In an overlay's upper directory, deleted files are devices and attributes.
        _host("cp", "--archive", str(self.written), str(new))
        new.rename(layer)
        return layer

    def close(self) -> None:
        """Unmount it."""
        _host("umount", "--lazy", str(self.path))
        _host("umount", "--lazy", str(self._scratch / "memory"))
        shutil.rmtree(self._scratch)


class Machine:
    """A booted system with its own network."""

    def __init__(self, root: Root) -> None:
        """Boot ``root``. Raises NotBooted."""
        self.root = root
        _mask_generators(root.path)
        self.name = f"{NAME_PREFIX}-{os.getpid()}-{next(_numbers)}"
        self._leader = 0
        self._console = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._cgroups = [path / self.name for path in cgroup_roots()]
        for path in self._cgroups:
            path.mkdir()
        self.network = Network(self.name)
        self._nspawn = subprocess.Popen(
            ["sh", "-c", self._script(), "sh", *map(str, self._cgroups)],
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=subprocess.STDOUT,
            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            start_new_session=True,
        )
        try:
            self._wait_until_booted()
        except BaseException:
            self.stop()
            raise

    def run(
        self,
        *command: str,
        check: bool = True,
        said: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it and return its output; ``said`` is its standard input.

        Raises CommandFailed if it fails and is to be checked.
        """
        return _run([*self.prefix(environ), *command], command, check, said)

    def prefix(self, environ: Mapping[str, str] | None = None) -> list[str]:
        """Return the words that make a command run inside, if put before it."""
        namespaces = ["-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
        return ["nsenter", "-t", str(self._leader), *namespaces, "--", *_env(environ)]

    def processes(self) -> list[tuple[str, str]]:
        """Return the command line of every process and the last part of its control group."""
        found = []
        namespace = os.readlink(f"/proc/{self._leader}/ns/pid")
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.readlink(process / "ns" / "pid") == namespace:
                    command = (process / "cmdline").read_text().replace("\0", " ").strip()
                    groups = (process / "cgroup").read_text().splitlines()
                    unified = next(line for line in groups if line.startswith("0::"))
                    found.append((command, unified.rpartition("/")[2]))
        return found

    def shut_down(self) -> None:
        """Shut it down cleanly, so that its root can be kept."""
        self._nspawn.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._nspawn.wait(STOP_TIMEOUT)

    def stop(self) -> None:
        """Kill it, and remove what was made for it."""
        if self._nspawn.poll() is None:
            if self._leader:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._leader, signal.SIGKILL)
            else:
                self._nspawn.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._nspawn.wait(STOP_TIMEOUT)
        self._nspawn.kill()
        self._nspawn.wait()
        self._console.close()
        self.network.delete()
        shutil.rmtree(Path("/run/systemd/nspawn/propagate", self.name), ignore_errors=True)
        for path in self._cgroups:
            until(lambda path=path: remove_cgroup(path), 5.0)

    def _script(self) -> str:
        # --keep-unit: systemd-nspawn builds below the cgroup it is in.
        options = (
            "--quiet --boot --register=no --keep-unit --console=pipe --resolv-conf=off"
            " --timezone=off --link-journal=no --capability=CAP_NET_ADMIN"
            " --system-call-filter=bpf"
        )
        return (
            'for cgroup; do echo $$ >"$cgroup/cgroup.procs"; done;'
            f" exec systemd-nspawn {options} --machine={self.name}"
            f" --directory={self.root.path} --network-namespace-path={self.network.path}"
        )

    def _wait_until_booted(self) -> None:
        if not (until(self._has_leader, BOOT_TIMEOUT) and until(self._is_up, BOOT_TIMEOUT)):
            self._console.seek(0)
            raise NotBooted(self._console.read())

    def _has_leader(self) -> bool:
        """Find its PID 1: the child of systemd-nspawn that is PID 1 in its namespace."""
        if self._nspawn.poll() is not None:
            self._console.seek(0)
            raise NotBooted(self._console.read())
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        for child in children.read_text().split():
            with contextlib.suppress(OSError):
                status = Path("/proc", child, "status").read_text()
                namespaces = next(line for line in status.splitlines() if "NSpid" in line)
                if namespaces.split()[-1] == "1" and "Name:\tsystemd\n" in status:
                    self._leader = int(child)
        return bool(self._leader)

    def _is_up(self) -> bool:
        # Waits by itself from when the manager answers.
        state = self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()
        return state in ("running", "degraded")


@contextlib.contextmanager
def root_over(layers: Sequence[Path]) -> Iterator[Root]:
    """Give the files of a machine that is switched off; they are gone afterwards."""
    root = Root(layers)
    try:
        yield root
    finally:
        root.close()


@contextlib.contextmanager
def switched_on(root: Root) -> Iterator[Machine]:
    """Boot a machine with these files, and stop it afterwards."""
    machine = Machine(root)
    try:
        yield machine
    finally:
        machine.stop()


@contextlib.contextmanager
def booted(layers: Sequence[Path]) -> Iterator[Machine]:
    """Boot a machine over these layers; it is gone afterwards."""
    with root_over(layers) as root, switched_on(root) as machine:
        yield machine


def _mask_generators(root: Path) -> None:
    masks = root / "etc" / "systemd" / "system-generators"
    masks.mkdir(parents=True, exist_ok=True)
    for generator in (root / GENERATORS).iterdir():
        mask = masks / generator.name
        if generator.name not in USEFUL_GENERATORS and not mask.is_symlink():
            mask.symlink_to("/dev/null")


def _env(environ: Mapping[str, str] | None) -> list[str]:
    variables = ENVIRONMENT | dict(environ or {})
    return ["env", "-i", *(f"{name}={value}" for name, value in variables.items())]


def _run(
    full: Sequence[str],
    command: Sequence[str],
    check: bool,
    said: str | None,
    seconds: float = COMMAND_TIMEOUT,
) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        full,
        input=said,
        stdin=subprocess.DEVNULL if said is None else None,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=seconds,
    )
    if check and result.returncode:
        raise CommandFailed(command, result)
    return result


def _host(*command: str) -> None:
    subprocess.run(command, check=True)


def cgroup_roots() -> list[Path]:
    """Return where cgroups can be created: cgroup 2, and systemd's hierarchy of version 1."""
    found = []
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        named = kind == "cgroup" and "name=systemd" in options.split(",")
        if kind == "cgroup2" or named:
            found.append(Path(place))
    return found


def remove_cgroup(cgroup: Path) -> bool:
    """Remove a cgroup if no process is left in it; return whether it is gone."""
    for directory, _, _ in os.walk(cgroup, topdown=False):
        with contextlib.suppress(OSError):
            Path(directory).rmdir()
    return not cgroup.exists()


def until(condition: Callable[[], bool], seconds: float, pause: float = 0.05) -> bool:
    """Return whether the condition becomes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True
