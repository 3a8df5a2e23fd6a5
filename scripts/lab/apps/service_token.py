"""The token with which the sync comes to the Task Service's API, in a file that nobody else can read."""

from __future__ import annotations

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path


def make(file: Path) -> None:
    """Writes a new token, mode 0600."""
    with open(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="ascii") as opened:
        opened.write(secrets.token_urlsafe(32) + "\n")


class ServiceToken:
    """What is accepted: the file's token, which is read again when another one comes, so that it may be replaced."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._token = b""

    def accepts(self, authorization: str) -> bool:
        """Whether a header's value is ``Bearer`` and this token."""
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
