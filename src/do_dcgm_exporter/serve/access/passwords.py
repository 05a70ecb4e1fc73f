"""Verify users and their passwords, and remember who has been verified."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass

from do_dcgm_exporter.errors import ConfigurationError

_BCRYPT_LETTERS = "./" + string.ascii_letters + string.digits
# bcrypt uses no more; some releases of the library refuse longer ones, others cut them.
_LONGEST_PASSWORD = 72
_LONGEST_CREDENTIALS = 1024
_COST = slice(0, 7)  # of "$2b$10$..."


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who a client says it is; never shown."""

    user: bytes
    password: bytes


def parse_basic(value: str) -> Credentials | None:
    """Read the value of an Authorization header (RFC 7617); None if it holds no password."""
    shape = re.fullmatch("basic +([A-Za-z0-9+/]+=*)", value.strip(" \t"), re.IGNORECASE)
    if shape is None or len(value) > _LONGEST_CREDENTIALS:
        return None
    try:
        text = base64.b64decode(shape[1], validate=True)
    except binascii.Error:
        return None
    user, colon, password = text.partition(b":")
    if not colon or re.search(rb"[\x00-\x1f\x7f]", text):
        return None
    return Credentials(user, password)


class Passwords:
    """The users of one web configuration; ``hashes`` are bcrypt's, by user.

    The last verified password of each user is remembered as a hash, whose key dies with the
    process, so that a scrape costs no bcrypt.
    """

    def __init__(self, hashes: Mapping[bytes, bytes]) -> None:
        """Load the library that checks hashes. Raises ConfigurationError if it is missing."""
        try:
            import bcrypt  # only needed with users
        except ImportError as error:
            raise ConfigurationError(
                "basic_auth_users: checking passwords requires the package python3-bcrypt,"
                " which is not installed"
            ) from error
        self._bcrypt = bcrypt
        self.hashes = dict(hashes)
        self._key = secrets.token_bytes(32)
        self._verified: dict[bytes, bytes] = {}
        # Unknown users must take as long as known ones.
        self._strangers = [_unmatched(known) for known in sorted(self.hashes.values())]
        self._nothing = secrets.token_bytes(32)

    def digest(self, credentials: Credentials) -> bytes:
        """Return the hash by which these credentials are remembered."""
        message = credentials.user + b":" + credentials.password
        return hmac.digest(self._key, message, hashlib.sha256)

    def remembers(self, credentials: Credentials, digest: bytes) -> bool:
        """Return whether these credentials have been verified before; takes microseconds."""
        known = self._verified.get(credentials.user, self._nothing)
        return hmac.compare_digest(known, digest)

    def verify(self, credentials: Credentials) -> bool:
        """Return whether they are right; takes as long as bcrypt, without Python's lock."""
        known = self.hashes.get(credentials.user) or self._stranger(credentials.user)
        password = credentials.password[:_LONGEST_PASSWORD]
        matches = bool(self._bcrypt.checkpw(password, known))
        return matches and credentials.user in self.hashes

    def remember(self, credentials: Credentials, digest: bytes) -> None:
        """Remember that these credentials are right."""
        self._verified[credentials.user] = digest

    def _stranger(self, user: bytes) -> bytes:
        """Return the hash, always the same one, against which an unknown user is checked."""
        choice = hmac.digest(self._key, user, hashlib.sha256)
        return self._strangers[int.from_bytes(choice, "big") % len(self._strangers)]


def _unmatched(known: bytes) -> bytes:
    """Return a hash of the same cost that no known password matches."""
    # The last letters of salt and hash have unused bits, which must be zero.
    letters = "".join(secrets.choice(_BCRYPT_LETTERS) for _ in range(51))
    return known[_COST] + f"{letters[:21]}.{letters[21:]}.".encode()
