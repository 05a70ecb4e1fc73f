"""Parse the section ``tls_server_config``: from Go's names to OpenSSL's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from do_dcgm_exporter.serve.access.yaml_tree import Part

_KEYS = (
    "cert_file", "key_file", "cert", "key", "client_ca_file", "client_ca", "client_auth_type",
    "client_allowed_sans", "min_version", "max_version", "cipher_suites",
    "prefer_server_cipher_suites", "curve_preferences",
)  # fmt: skip

# The suites of TLS 1.2 that crypto/tls calls secure, with OpenSSL's names.
_SUITES = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
}
# As in Go, those of TLS 1.3 cannot be chosen from: all are offered.
_SUITES_OF_1_3 = frozenset(
    {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
)
_MODERN_SUITES = ("ECDHE+AESGCM", "ECDHE+CHACHA20")

_CURVES = {
    "X25519": "X25519",
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
}


class ClientAuth(Enum):
    """Whether clients must show a certificate."""

    NONE = "NoClientCert"
    IF_GIVEN = "VerifyClientCertIfGiven"
    REQUIRED = "RequireAndVerifyClientCert"


class TlsVersion(Enum):
    """The versions of TLS that are not broken."""

    TLS12 = "TLS12"
    TLS13 = "TLS13"


_VERSIONS = {version.value: version for version in TlsVersion}


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """How to speak TLS; certificates and keys are paths, or PEM given inline.

    ``cipher_suites`` (of TLS 1.2) and ``curves`` are OpenSSL's names. Of the curves the first is
    offered; without one OpenSSL chooses.
    """

    certificate: Path | bytes
    key: Path | bytes = field(repr=False)
    client_ca: Path | bytes | None = None
    client_auth: ClientAuth = ClientAuth.NONE
    allowed_sans: frozenset[str] = frozenset()
    min_version: TlsVersion = TlsVersion.TLS12
    max_version: TlsVersion = TlsVersion.TLS13
    cipher_suites: tuple[str, ...] = _MODERN_SUITES
    prefer_server_cipher_suites: bool = True
    curves: tuple[str, ...] = ()


def parse_tls(section: Part, directory: Path) -> TlsConfig | None:
    """Parse the section; return None if it is empty.

    Paths are relative to ``directory``.
    """
    parts = section.known_mapping(_KEYS)
    if not parts:
        return None
    certificate = _pem(section, parts, "cert", directory)
    key = _pem(section, parts, "key", directory)
    for name, value in (("cert_file", certificate), ("key_file", key)):
        if value is None:
            raise section.wrong(f"{name} is missing: TLS needs a certificate and its key")
    assert certificate is not None, "raised above"
    assert key is not None, "raised above"
    auth, authority = _client_auth(section, parts, directory)
    lowest = _value(parts, "min_version", _VERSIONS, TlsVersion.TLS12)
    highest = _value(parts, "max_version", _VERSIONS, TlsVersion.TLS13)
    if (lowest, highest) == (TlsVersion.TLS13, TlsVersion.TLS12):
        raise parts["max_version"].wrong("this is below min_version")
    return TlsConfig(
        certificate=certificate,
        key=key,
        client_ca=authority,
        client_auth=auth,
        allowed_sans=_allowed_sans(parts, auth),
        min_version=lowest,
        max_version=highest,
        cipher_suites=_cipher_suites(parts, lowest),
        prefer_server_cipher_suites=_truth(parts, "prefer_server_cipher_suites", default=True),
        curves=_curves(parts),
    )


def _pem(
    section: Part, parts: Mapping[str, Part], name: str, directory: Path
) -> Path | bytes | None:
    """Return the PEM under ``name`` or the path under ``name_file``."""
    file = parts[f"{name}_file"].text() if f"{name}_file" in parts else ""
    inline = parts[name].text() if name in parts else ""
    if file and inline:
        raise section.wrong(f"there is a {name} and a {name}_file: only one of them is allowed")
    if "\0" in file:
        raise parts[f"{name}_file"].wrong("this is not a path")
    return directory / file if file else inline.encode() or None


def _client_auth(
    section: Part, parts: Mapping[str, Part], directory: Path
) -> tuple[ClientAuth, Path | bytes | None]:
    """Return whether clients must show a certificate, and who may have issued it."""
    known = {auth.value: auth for auth in ClientAuth}
    auth = _value(parts, "client_auth_type", known, ClientAuth.NONE)
    authority = _pem(section, parts, "client_ca", directory)
    if auth is ClientAuth.NONE and authority is not None:
        raise section.wrong(
            f"client_ca_file needs client_auth_type: {ClientAuth.REQUIRED.value},"
            " or nobody is asked for a certificate"
        )
    if auth is not ClientAuth.NONE and authority is None:
        raise section.wrong(f"client_auth_type: {auth.value} needs client_ca_file")
    return auth, authority


def _allowed_sans(parts: Mapping[str, Part], auth: ClientAuth) -> frozenset[str]:
    if "client_allowed_sans" not in parts:
        return frozenset()
    part = parts["client_allowed_sans"]
    names = frozenset(part.texts())
    if names and auth is ClientAuth.NONE:
        raise part.wrong(f"this needs client_auth_type: {ClientAuth.REQUIRED.value}")
    return names


def _cipher_suites(parts: Mapping[str, Part], lowest: TlsVersion) -> tuple[str, ...]:
    part = parts.get("cipher_suites")
    names = part.texts() if part else []
    if part is None or not names:
        return _MODERN_SUITES
    if not _SUITES.keys() | _SUITES_OF_1_3 >= set(names):
        allowed = ", ".join((*_SUITES, *sorted(_SUITES_OF_1_3)))
        raise part.wrong(f"one of these suites is unknown or not allowed; allowed are {allowed}")
    suites = tuple(_SUITES[name] for name in names if name in _SUITES)
    if not suites and lowest is TlsVersion.TLS12:
        raise part.wrong("none of these is for TLS 1.2; write min_version: TLS13 as well")
    return suites or _MODERN_SUITES


def _curves(parts: Mapping[str, Part]) -> tuple[str, ...]:
    names = parts["curve_preferences"].texts() if "curve_preferences" in parts else []
    if not set(names) <= _CURVES.keys():
        allowed = ", ".join(_CURVES)
        raise parts["curve_preferences"].wrong(f"this is a list of {allowed}, or left out")
    return tuple(_CURVES[name] for name in names)


def _value(parts: Mapping[str, Part], name: str, allowed: Mapping[str, Any], default: Any) -> Any:
    part = parts.get(name)
    return default if part is None or not part.text() else part.one_of(allowed)


def _truth(parts: Mapping[str, Part], name: str, *, default: bool) -> bool:
    return parts[name].boolean(default) if name in parts else default
