"""Ask an exporter for its metrics."""

from __future__ import annotations

from enum import IntEnum

_SECONDS = 5.0
_LARGEST_PAGE = 1 << 20
_OK, _UNAUTHORIZED = 200, 401


class Served(IntEnum):
    """What an exporter's port gives."""

    NOTHING = 0
    EMPTY_PAGE = 1
    METRICS = 2


def scrape(address: str, port: int, *, tls: bool) -> Served:
    """Ask what an exporter serves at ``address``."""
    # Slow to import, and most runs ask nobody.
    import http.client
    import ssl

    connection: http.client.HTTPConnection
    if tls:
        # Whether it serves is asked, not who it is.
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(address, port, timeout=_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(address, port, timeout=_SECONDS)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        return _judge(answer.status, answer.read(_LARGEST_PAGE))
    except (OSError, http.client.HTTPException):
        return Served.NOTHING
    finally:
        connection.close()


def _judge(status: int, page: bytes) -> Served:
    # One that asks for a password serves.
    if status == _UNAUTHORIZED:
        return Served.METRICS
    if status != _OK:
        return Served.NOTHING
    has_samples = any(line and not line.startswith(b"#") for line in page.splitlines())
    return Served.METRICS if has_samples else Served.EMPTY_PAGE
