"""Put a web configuration to work: who may connect, and how."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from do_dcgm_exporter.errors import located
from do_dcgm_exporter.serve.access.gate import Bucket, Gate
from do_dcgm_exporter.serve.access.password_checker import PasswordChecker
from do_dcgm_exporter.serve.access.passwords import Passwords
from do_dcgm_exporter.serve.access.tls_config import ClientAuth
from do_dcgm_exporter.serve.access.tls_context import (
    TlsMaterial,
    has_allowed_name,
    make_context,
    read_material,
)
from do_dcgm_exporter.serve.access.tls_transport import TlsTransport
from do_dcgm_exporter.serve.access.web_config import WebConfig, parse_web_config
from do_dcgm_exporter.serve.http.connection import Connection, Responder
from do_dcgm_exporter.serve.http.response import refusal
from do_dcgm_exporter.serve.routes import Site

# OpenSSL remembers up to 20480 sessions of TLS 1.2, 1 kB each, and Python cannot change
# that. They go with their context, which is replaced before there are many.
_MOST_SESSIONS = 500


class Security:
    """One web configuration in use; a reload replaces it as a whole.

    All methods but ``wait`` are the event loop's.
    """

    def __init__(
        self, config: WebConfig, material: TlsMaterial | None, passwords: Passwords | None
    ) -> None:
        """Use ``material``. Raises ConfigurationError if OpenSSL refuses it."""
        self.config = config
        self.headers = config.headers
        self.passwords = passwords
        self._material = material
        self._context = make_context(material) if material else None
        self._checker: PasswordChecker | None = None

    def guard(self, site: Site) -> Responder:
        """Return what answers in place of ``site``."""
        if self.passwords is not None:
            self._checker = PasswordChecker()
        limit = self.config.rate_limit
        return Gate(
            site,
            self.passwords,
            self._checker,
            Bucket(limit) if limit else None,
            is_tls=self._material is not None,
        )

    def protect(self, connection: Connection) -> asyncio.Protocol:
        """Return what stands between a socket and ``connection``."""
        if self._material is None or self._context is None:
            return connection
        if self._context.session_stats()["number"] > _MOST_SESSIONS:
            self._context = make_context(self._material)
        misplaced = refusal(HTTPStatus.BAD_REQUEST, "this port speaks HTTPS", time.time())
        return TlsTransport(self._context, connection, self._is_welcome, misplaced)

    def speaks_like(self, other: Security | None) -> bool:
        """Return whether connections made under ``other`` may continue."""
        return self._material == (other._material if other else None)

    def close(self) -> None:
        """End the thread that checks passwords."""
        if self._checker is not None:
            self._checker.stop()

    def wait(self, seconds: float) -> None:
        """Wait that long for the thread to end; called by any thread."""
        if self._checker is not None:
            self._checker.wait(seconds)

    def _is_welcome(self, certificate: dict[str, Any]) -> bool:
        names = self.config.tls.allowed_sans if self.config.tls else frozenset()
        if not names:
            return True
        # Who need not show a certificate need not show a name either.
        is_optional = self.config.tls and self.config.tls.client_auth is ClientAuth.IF_GIVEN
        return has_allowed_name(certificate, names) or bool(is_optional and not certificate)

    @property
    def sends_passwords_in_the_clear(self) -> bool:
        """Whether passwords are sent without TLS, so that anyone on the network can read them."""
        return self.passwords is not None and self._material is None

    def __str__(self) -> str:
        return ", ".join(self._parts()) or "neither TLS nor passwords"

    def _parts(self) -> Iterator[str]:
        if tls := self.config.tls:
            yield f"TLS from {tls.min_version.value[3:4]}.{tls.min_version.value[4:]}"
            if tls.client_auth is not ClientAuth.NONE:
                yield f"client certificates ({tls.client_auth.value})"
        if users := len(self.config.users):
            yield f"passwords of {users} user{'' if users == 1 else 's'}"
        if self.config.rate_limit:
            yield "a rate limit"


def load_security(
    path: Path, read: Callable[[Path, str], bytes], old: Security | None = None
) -> Security:
    """Read the web configuration at ``path``, and the files it names, with ``read``.

    ``old`` lends the passwords it has verified, if its users are the same. Raises
    ConfigurationError, as ``read`` does.
    """
    config = parse_web_config(read(path, "web configuration"), path)
    with located(str(path)):
        passwords = old.passwords if old else None
        if passwords is None or passwords.hashes != config.users:
            passwords = Passwords(config.users) if config.users else None
        material = read_material(config.tls, read) if config.tls else None
        return Security(config, material, passwords)
