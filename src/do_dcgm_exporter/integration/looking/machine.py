"""What else is on the machine: driver, packages, our own service, the endpoint."""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from do_dcgm_exporter.config.settings import ListenAddress
from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking.commands import run

_DRIVER = re.compile(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b")
_PACKAGES = re.compile(r"datacenter-gpu-manager|dcgm-simulator")
_ANSWER_SECONDS = 3.0
_HTTP_SECONDS = 2.0
_LONGEST_HEALTH = 400


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What an HTTP server said; ``status`` is 0 when it did not, and ``text`` says why."""

    status: int
    text: str


def driver_version(host: Host) -> str:
    """Return the version of the loaded NVIDIA driver, nothing without one."""
    first = host.text("/proc/driver/nvidia/version").partition("\n")[0]
    match = _DRIVER.search(first) or _DRIVER.search(host.text("/sys/module/nvidia/version"))
    return match[1] if match else ""


def dcgm_packages() -> tuple[Package, ...]:
    """Return the installed packages of DCGM. Raises CommandFailed."""
    form = "${db:Status-Abbrev}\t${Package}\t${Version}\n"
    # Without a pattern: one that matches nothing is an error.
    lines = run("dpkg-query", "--show", "-f", form, timeout=_ANSWER_SECONDS).splitlines()
    fields = (line.split("\t") for line in lines if line.startswith("ii"))
    return tuple(Package(name, version) for _, name, version in fields if _PACKAGES.match(name))


def health(address: ListenAddress) -> Answer:
    """Ask our own exporter how it is."""
    host = address.host if address.host not in ("", "0.0.0.0", "::") else "127.0.0.1"
    return _get(f"http://{f'[{host}]' if ':' in host else host}:{address.port}/health")


def endpoint(url: str) -> Answer:
    """Ask whether the endpoint is there; any answer will do, and nothing is posted."""
    return _get(url)


def _get(url: str) -> Answer:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_HTTP_SECONDS)
    try:
        connection.request("GET", parts.path or "/", headers={"Connection": "close"})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(_LONGEST_HEALTH).decode("utf-8", "replace"))
    except TimeoutError:
        return Answer(0, f"no answer within {_HTTP_SECONDS:g} s")
    except OSError as error:
        return Answer(0, error.strerror or str(error))
    except http.client.HTTPException as error:
        return Answer(0, f"its answer is no HTTP ({type(error).__name__})")
    finally:
        connection.close()
