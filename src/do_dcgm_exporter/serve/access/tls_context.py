"""Turn a TLS configuration, and the files it names, into an OpenSSL context."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from do_dcgm_exporter.errors import ConfigurationError
from do_dcgm_exporter.serve.access.tls_config import ClientAuth, TlsConfig, TlsVersion

_VERSIONS = {
    TlsVersion.TLS12: ssl.TLSVersion.TLSv1_2,
    TlsVersion.TLS13: ssl.TLSVersion.TLSv1_3,
}
_VERIFY_MODES = {
    ClientAuth.NONE: ssl.CERT_NONE,
    ClientAuth.IF_GIVEN: ssl.CERT_OPTIONAL,
    ClientAuth.REQUIRED: ssl.CERT_REQUIRED,
}
_PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----")
_REASONS = {
    "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
    # OpenSSL says this of a key of another kind, for which it has no certificate.
    "NO_CERTIFICATE_ASSIGNED": "the key does not belong to the certificate",
    "EE_KEY_TOO_SMALL": "the key is too short to be safe",
    "CA_KEY_TOO_SMALL": "the key of the certificate's issuer is too short to be safe",
    "CA_MD_TOO_WEAK": "the certificate is signed with a broken digest",
}


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """A TLS configuration and the content of its files; equal ones speak TLS alike."""

    config: TlsConfig
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    client_ca: str = field(repr=False)


def read_material(config: TlsConfig, read: Callable[[Path, str], bytes]) -> TlsMaterial:
    """Read the files that ``config`` names with ``read``, whose errors it lets pass."""

    def content(source: Path | bytes | None, what: str) -> bytes:
        return read(source, what) if isinstance(source, Path) else source or b""

    return TlsMaterial(
        config,
        content(config.certificate, "cert_file"),
        content(config.key, "key_file"),
        content(config.client_ca, "client_ca_file").decode("ascii", "ignore"),
    )


def make_context(material: TlsMaterial) -> ssl.SSLContext:
    """Return a context for servers; raises ConfigurationError.

    It has no session tickets: scrapers keep their connections, and a ticket key that does not
    exist cannot be stolen.
    """
    config = material.config
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[config.min_version]
    context.maximum_version = _VERSIONS[config.max_version]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION
    context.num_tickets = 0
    if config.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    with _told_as(config.certificate, "cert_file", "cipher_suites: none is known to OpenSSL"):
        context.set_ciphers(":".join(config.cipher_suites))
    if config.curves:
        context.set_ecdh_curve(config.curves[0])
    _load_pair(context, material)
    if config.client_ca is not None:
        _trust(context, material.client_ca, config.client_ca, "client_ca_file")
        # As in Go, a certificate in the file is trusted without its issuer.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = _VERIFY_MODES[config.client_auth]
    return context


def _load_pair(context: ssl.SSLContext, material: TlsMaterial) -> None:
    """Load certificate and key from memory, so that what was read is what is used."""
    certificate, key = material.config.certificate, material.config.key
    # This context only serves to find out which of the two is wrong.
    scratch = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _trust(scratch, material.certificate.decode("ascii", "ignore"), certificate, "cert_file")
    if not _PRIVATE_KEY.search(material.key):
        raise _complaint(key, "key_file", "it contains no private key in PEM")
    with (
        _in_memory(material.certificate) as certificate_path,
        _in_memory(material.key) as key_path,
        _told_as(key, "key_file", "OpenSSL cannot read the key"),
    ):
        context.load_cert_chain(certificate_path, key_path, password=_no_password)


def _no_password() -> bytes:
    # Or OpenSSL would ask for one at the terminal.
    raise ConfigurationError("the key is encrypted; it has to be stored without a password")


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Yield a path to ``content`` that no other process can open."""
    descriptor = os.memfd_create("pem")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _trust(context: ssl.SSLContext, pem: str, source: Path | bytes, what: str) -> None:
    with _told_as(source, what, "it contains no certificate in PEM"):
        context.load_verify_locations(cadata=pem)


@contextmanager
def _told_as(source: Path | bytes, what: str, otherwise: str) -> Iterator[None]:
    """Turn OpenSSL's errors into complaints about what was read from ``source``."""
    try:
        yield
    except ConfigurationError as error:
        raise _complaint(source, what, str(error)) from None
    except (ssl.SSLError, ValueError, TypeError) as error:
        reason = _REASONS.get(getattr(error, "reason", None) or "", otherwise)
        raise _complaint(source, what, reason) from error


def _complaint(source: Path | bytes, what: str, why: str) -> ConfigurationError:
    place = f"{what} {source}" if isinstance(source, Path) else what.removesuffix("_file")
    return ConfigurationError(f"{place}: {why}")


def has_allowed_name(certificate: dict[str, Any], allowed: Iterable[str]) -> bool:
    """Return whether a certificate (``getpeercert()``) has one of the ``allowed`` names.

    Names are DNS names, addresses, e-mail addresses and URIs, compared literally.
    """
    names = {_name(kind, value) for kind, value in certificate.get("subjectAltName", ())}
    return not names.isdisjoint(map(_canonical, allowed))


def _name(kind: str, value: str) -> str:
    return _canonical(value.strip()) if kind == "IP Address" else value


def _canonical(name: str) -> str:
    """Return an address in its usual form; OpenSSL does not shorten those of IPv6."""
    try:
        return str(ip_address(name))
    except ValueError:
        return name
