"""The token with which the sync calls the Task Service's API, in a file that only its owner can read."""

from __future__ import annotations

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path


def make(file: Path) -> None:
    """Writes a new token to the file, with mode 0600."""
    with open(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="ascii") as opened:
        opened.write(secrets.token_urlsafe(32) + "\n")


class ServiceToken:
    """Checks the token. Reads the file again when another token comes, so that the token can be replaced."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._token = b""

    def accepts(self, authorization: str) -> bool:
        """Returns whether a header's value is ``Bearer`` and this token."""
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return False
        return self._is(given) or (self._read() and self._is(given))

    def _is(self, given: str) -> bool:
        return bool(self._token) and hmac.compare_digest(self._token, given.strip().encode())

    def _read(self) -> bool:
        self._token = b""
        with suppress(OSError):
            self._token = self._file.read_bytes().strip()
        return bool(self._token)
