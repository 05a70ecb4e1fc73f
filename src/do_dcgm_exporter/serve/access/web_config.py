"""Parse the web configuration file: TLS, passwords, response headers, a rate limit.

The format is that of Prometheus' exporter-toolkit (docs/web-configuration.md there), and one
file may serve several exporters. What this server cannot do is refused, unless clients are
served as safely without it: of that a warning is given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from do_dcgm_exporter.serve.access.tls_config import TlsConfig, parse_tls
from do_dcgm_exporter.serve.access.yaml_tree import Part, absent, read_yaml

# An answer must come within a scrape's 10 s; cost 16 takes about 4 s of a core.
_COSTS = range(4, 17)
_BCRYPT = re.compile(r"\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{53}")

# None: any text. The names are those that exporter-toolkit lets a user set.
_HEADERS: dict[str, tuple[str, ...] | None] = {
    "Strict-Transport-Security": None,
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": None,
    "Content-Security-Policy": None,
}

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|ms|s|m|h)")


class Section(Enum):
    """The keys at the top of the file."""

    TLS = "tls_server_config"
    HTTP = "http_server_config"
    USERS = "basic_auth_users"
    RATE = "rate_limit"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``burst`` requests at once and, in the long run, one every ``interval`` seconds."""

    interval: float
    burst: int


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The content of a web configuration file; ``users`` are names and bcrypt hashes."""

    tls: TlsConfig | None = None
    users: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    headers: tuple[str, ...] = ()
    rate_limit: RateLimit | None = None
    warnings: tuple[str, ...] = ()


def parse_web_config(content: bytes, path: Path) -> WebConfig:
    """Parse ``content``, that of the file at ``path``; raises ConfigurationError."""
    file = str(path)
    top = read_yaml(content, file).known_mapping(section.value for section in Section)
    parts = {section: top.get(section.value, absent(file, section.value)) for section in Section}
    http = parts[Section.HTTP].known_mapping(("http2", "headers"))
    warnings = []
    if "http2" in http and http["http2"].boolean(default=False):
        warnings.append(str(http["http2"].wrong("this server speaks HTTP/1.1 all the same")))
    tls = parse_tls(parts[Section.TLS], path.parent)
    if tls is not None and len(tls.curves) > 1:
        curves = parts[Section.TLS].mapping()["curve_preferences"]
        why = "Python cannot order several curves, so the first one alone is offered"
        warnings.append(str(curves.wrong(why)))
    return WebConfig(
        tls=tls,
        users=_users(parts[Section.USERS]),
        headers=_headers(http["headers"]) if "headers" in http else (),
        rate_limit=_rate_limit(parts[Section.RATE]),
        warnings=tuple(warnings),
    )


def _users(section: Part) -> dict[bytes, bytes]:
    """Return the hash of each user; complaints show neither, in case they are swapped."""
    users = {}
    for name, part in section.mapping().items():
        entry = Part(part.node, part.file, part.line, section.key)
        if not name or ":" in name or not name.isprintable():
            raise entry.wrong("a user's name has at least one character, and no colon")
        shape = _BCRYPT.fullmatch(part.text())
        if shape is None:
            raise entry.wrong("after the user's name comes a bcrypt hash ($2y$10$ and 53 more)")
        if int(shape["cost"]) not in _COSTS:
            raise entry.wrong(f"the cost of a hash is from {_COSTS[0]:02} to {_COSTS[-1]}")
        users[name.encode()] = part.text().encode()
    return users


def _headers(section: Part) -> tuple[str, ...]:
    lines = []
    for name, part in section.known_mapping(_HEADERS).items():
        allowed, value = _HEADERS[name], part.text()
        if value and allowed and value not in allowed:
            raise part.wrong(f"this is not one of {', '.join(allowed)}")
        if not re.fullmatch("[ -~]*", value):
            raise part.wrong("a header is one line of ASCII text")
        if value and name != "X-Content-Type-Options":  # that one is always sent
            lines.append(f"{name}: {value}")
    return tuple(lines)


def _rate_limit(section: Part) -> RateLimit | None:
    parts = section.known_mapping(("interval", "burst"))
    interval = _seconds(parts["interval"]) if "interval" in parts else 0.0
    if not interval:
        return None
    burst = parts.get("burst", section).text() if "burst" in parts else ""
    if not re.fullmatch("[0-9]{1,9}", burst) or not int(burst):
        raise parts.get("burst", section).wrong("burst is a whole number, at least 1")
    return RateLimit(interval, int(burst))


def _seconds(part: Part) -> float:
    """Read a duration as Go writes it: ``500ms``, ``1m30s``, ``0``."""
    text = part.text()
    found = _DURATION.findall(text)
    if text in ("", "0"):
        return 0.0
    if "".join(found) != text or len(text) > 40:
        raise part.wrong("this is not a duration like 500ms, 1s or 1m30s")
    return sum(_length(piece) for piece in found)


def _length(piece: str) -> float:
    unit = piece.lstrip("0123456789.")
    return float(piece.removesuffix(unit)) * _UNITS[unit]
