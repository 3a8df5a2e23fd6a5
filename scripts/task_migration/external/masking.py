"""Finds and masks what looks like a password or token in text and in nested values."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

_NAME = re.compile(r"(?:pass|password|passwd|passphrase|pwd|secret|token)$", re.IGNORECASE)
_SECRET = re.compile(
    r"""(?P<name>(?:pass|password|passwd|passphrase|pwd|secret|token)["']?\s*[=:]\s*)"""
    r"""(?P<value>'[^']*'|"[^"]*"|[^\s"',;}]+)""",
    re.IGNORECASE,
)
_DSN_PASSWORD = re.compile(
    r"(?:pass|password|passwd|pwd)\s*=\s*(?!['\"]?\*+(?:['\"\s]|$))\S|\w://[^\s/:@]*:(?!\*+@)[^\s/@]+@", re.IGNORECASE
)
_URL_PASSWORD = re.compile(r"(?P<name>\w://[^\s/:@]*:)[^\s/@]+(?=@)")


def is_secret_name(path: str) -> bool:
    """Returns whether a key, or a path that ends with one, is named like a password or token."""
    return _NAME.search(path) is not None


def holds_password(text: str) -> bool:
    """Returns whether a text holds a password in the form of a connection string or URL, not masked yet."""
    return _DSN_PASSWORD.search(text) is not None


def masked(text: str) -> str:
    """Returns the text with everything that looks like a password replaced by ***."""
    return _URL_PASSWORD.sub(r"\g<name>***", _SECRET.sub(r"\g<name>***", text))


def secret_values(values: Mapping[str, Any]) -> set[str]:
    """Returns the texts in ``values``, at any depth, whose key is named like a secret."""
    found = {str(value) for path, value in leaves(values, "") if is_secret_name(path)}
    return found - {"", "None", "True", "False"}


def leaves(value: Any, path: str) -> Iterable[tuple[str, Any]]:
    """Yields every value that is not a mapping or list, at any depth, with its path."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{number}]")
    else:
        yield path, value


def typed_command(arguments: Sequence[str]) -> str:
    """Returns the command line as it was typed, with secrets masked and without the path of the program."""
    words = [Path(arguments[0]).name, *arguments[1:]] if arguments else []
    return shlex.join(map(masked, words))[:1000]
