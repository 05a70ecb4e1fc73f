"""Ask web servers: other exporters and our own."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass
from enum import IntEnum

from do_dcgm_exporter.config.settings import ListenAddress

_SECONDS = 3.0  # less than "check" gives a look
# An exporter may be waiting for its engine, and nobody is waiting for our answer.
_EXPORTER_SECONDS = 5.0
_LARGEST_PAGE = 1 << 20


class Served(IntEnum):
    """What an exporter serves on its port."""

    NOTHING = 0
    EMPTY_PAGE = 1
    METRICS = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; without one, ``status`` is 0 and ``text`` says why."""

    status: int
    text: str


def scrape(address: str, port: int, *, tls: bool) -> Served:
    """Return what an exporter serves at ``address``, without verifying its certificate."""
    answer = _get(address, port, "/metrics", _EXPORTER_SECONDS, tls=tls)
    if answer.status == http.client.UNAUTHORIZED:
        return Served.METRICS  # one that demands a password does serve
    if answer.status != http.client.OK:
        return Served.NOTHING
    has_samples = any(line and not line.startswith("#") for line in answer.text.splitlines())
    return Served.METRICS if has_samples else Served.EMPTY_PAGE


def ask_exporter(address: ListenAddress, path: str = "/health", *, tls: bool = False) -> Answer:
    """Get ``path`` from our own exporter."""
    host = address.host if address.host not in ("", "0.0.0.0", "::") else "127.0.0.1"
    return _get(host, address.port, path, _SECONDS, tls=tls)


def _get(host: str, port: int, path: str, seconds: float, *, tls: bool = False) -> Answer:
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    if tls:
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(_LARGEST_PAGE).decode("utf-8", "replace"))
    except TimeoutError:
        return Answer(0, f"no answer within {seconds:g} s")
    except OSError as error:
        return Answer(0, error.strerror or str(error))
    except http.client.HTTPException as error:
        return Answer(0, f"its answer is not HTTP ({type(error).__name__})")
    finally:
        connection.close()
