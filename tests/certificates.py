"""Certificates for tests, made by openssl(1) as an operator would."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_DAYS = 90
# As a public authority would add them; testssl.sh looks for them.
_OF_SERVERS = """\
basicConstraints = CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = {names}
crlDistributionPoints = URI:http://127.0.0.1/ca.crl
"""
_OF_CLIENTS = """\
basicConstraints = CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = clientAuth
subjectAltName = {names}
"""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates; everything it makes is in ``directory``."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self.directory = directory
        self._key = directory / f"{name}.key"
        self.certificate = directory / f"{name}.pem"
        _key(self._key)
        _openssl(
            "req", "-x509", "-new", "-sha256", "-days", _DAYS, "-subj", f"/CN=test {name}",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-key", self._key, "-out", self.certificate,
        )  # fmt: skip

    def server(
        self, name: str = "server", names: str = "DNS:localhost,IP:127.0.0.1", curve: str = "P-256"
    ) -> Pair:
        """Sign a server's certificate for ``names``; without a ``curve``, with an RSA key."""
        return self._sign(name, _OF_SERVERS.format(names=names), curve)

    def client(self, name: str = "client", names: str = "DNS:prometheus.example") -> Pair:
        """Sign a client's certificate for ``names``."""
        return self._sign(name, _OF_CLIENTS.format(names=names), "P-256")

    def trust(self, client: Pair | None = None) -> ssl.SSLContext:
        """Return a client's context that trusts it, with the client's own certificate."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if client is not None:
            context.load_cert_chain(client.certificate, client.key)
        return context

    def _sign(self, name: str, extensions: str, curve: str) -> Pair:
        pair = Pair(self.directory / f"{name}.pem", self.directory / f"{name}.key")
        request, wanted = pair.key.with_suffix(".csr"), pair.key.with_suffix(".ext")
        wanted.write_text(extensions)
        _key(pair.key, curve)
        _openssl("req", "-new", "-key", pair.key, "-subj", f"/CN={name}", "-out", request)
        _openssl(
            "x509", "-req", "-sha256", "-days", _DAYS, "-CAcreateserial", "-extfile", wanted,
            "-CA", self.certificate, "-CAkey", self._key, "-in", request, "-out", pair.certificate,
        )  # fmt: skip
        return pair


def _key(path: Path, curve: str = "P-256") -> None:
    kind = ("EC", "-pkeyopt", f"ec_paramgen_curve:{curve}") if curve else ("RSA",)
    _openssl("genpkey", "-algorithm", *kind, "-out", path)


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
