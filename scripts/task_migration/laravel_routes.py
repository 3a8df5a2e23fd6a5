"""Taking the routes below one path out of a routes file of Laravel's, and nothing else, byte for byte.

PHP is read as far as it takes to tell statements, calls and their arguments apart: strings, comments and brackets. What
that does not tell for sure is left where it is, and named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_ROUTE = re.compile(r"\\?(?:[A-Za-z_]\w*\\)*Route\s*::\s*")
_NAME = re.compile(r"[A-Za-z_]\w*")
_NEXT_CALL = re.compile(r"\s*->\s*")
_OPEN, _CLOSE = "([{", ")]}"
_HEREDOC, _END_OF_PHP = "<<<", "?>"
_RESOURCES = {"resource", "apiResource", "singleton", "apiSingleton"}
_URI_FIRST = {
    *("get", "post", "put", "patch", "delete", "options", "any"),
    *("view", "redirect", "permanentRedirect", "inertia", "livewire"),
    *_RESOURCES,
}
"""Methods whose first argument is the path."""
_URI_SECOND = {"match"}
_PREFIX_KEY = re.compile(r"""(['"])prefix\1\s*=>\s*""")
_IMPORT = re.compile(r"use\s+\\?(?P<name>[A-Za-z_][\w\\]*)\s*(?:as\s+(?P<alias>\w+)\s*)?;")


class Unreadable(Exception):
    """The file holds PHP that is not understood here."""


@dataclass(frozen=True)
class Taken:
    """``text`` without the routes; ``removed``, their lines as "12: Route::get('/tasks'"; ``doubtful``, the same of
    statements that speak of the path and were left, since nobody can tell whether they are its routes."""

    text: str
    removed: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Call:
    """One call of a chain: where its arguments stand in the text."""

    name: str
    arguments: list[tuple[int, int]]


def without(text: str, path: str) -> Taken:
    """The file without the routes of ``path`` ("tasks": /tasks and all below it). Raises Unreadable."""
    cuts: list[tuple[int, int]] = []
    doubtful: list[int] = []
    begin = text.find("<?php")
    if begin < 0:
        raise Unreadable("it does not begin with <?php")
    _walk(text, begin + len("<?php"), len(text), path, cuts, doubtful)
    removed = [_told(text, start) for start, _ in cuts]
    kept, at = [], 0
    for start, end in cuts:
        start, end = _whole_lines(text, start, end)
        kept.append(text[at:start])
        at = end
    return Taken("".join([*kept, text[at:]]), removed, [_told(text, start) for start in doubtful])


def without_imports(text: str, names: set[str]) -> str:
    """The file without the ``use`` of these classes, unless what they are called here is still spoken of."""
    begin = text.find("<?php") + len("<?php")
    cuts = []
    for start, end in _statements(text, begin, len(text)):
        found = _IMPORT.fullmatch(text[start:end])
        if found and found["name"] in names:
            called = found["alias"] or found["name"].rpartition("\\")[2]
            if not re.search(rf"\b{called}\b", text[:start] + text[end:]):
                cuts.append(_whole_lines(text, start, end))
    for start, end in reversed(cuts):
        text = text[:start] + text[end:]
    return text


def _walk(text: str, begin: int, end: int, path: str, cuts: list[tuple[int, int]], doubtful: list[int]) -> None:
    """Looks at each statement between two places; into groups that add nothing to the path, too."""
    for start, stop in _statements(text, begin, end):
        calls = _chain(text, start, stop)
        verdict, body = _judged(text, calls, path) if calls else (None, None)
        if verdict:
            cuts.append((start, stop))
        elif body:
            _walk(text, *body, path, cuts, doubtful)
        elif verdict is None and not _IMPORT.fullmatch(text[start:stop]) and _speaks_of(text[start:stop], path):
            doubtful.append(start)


def _judged(text: str, calls: list[_Call], path: str) -> tuple[bool | None, tuple[int, int] | None]:
    """Whether the statement is a route of the path (None: nobody can tell); and the body of a group to look into."""
    prefix = ""
    for call in calls:
        values = [_literal(text[start:stop]) for start, stop in call.arguments]
        if call.name == "prefix":
            if not values or values[0] is None:
                return None, None
            prefix = f"{prefix}/{values[0]}"
        elif call.name == "group":
            if len(call.arguments) == 2:
                found = _prefix_in(text[slice(*call.arguments[0])])
                if found is None:
                    return None, None
                prefix = f"{prefix}/{found}"
            if prefix.strip("/"):
                return _is_below(prefix, path), None
            body = _body(text, *call.arguments[-1]) if call.arguments else None
            return (False, body) if body else (None, None)
        elif call.name in _URI_FIRST or call.name in _URI_SECOND:
            place = 1 if call.name in _URI_SECOND else 0
            uri = values[place] if len(values) > place else None
            own = [one for one in calls if one.name == "prefix" and one is not call]
            prefixes = [_literal(text[slice(*one.arguments[0])]) if one.arguments else None for one in own]
            if uri is None or None in prefixes:
                first = "/".join(filter(None, prefixes)).strip("/")
                return (_is_below(first, path), None) if first and None not in prefixes else (None, None)
            whole = "/".join([*filter(None, prefixes), uri.replace(".", "/") if call.name in _RESOURCES else uri])
            return _is_below(whole, path), None
    return None, None


def _is_below(uri: str, path: str) -> bool:
    return uri.strip("/").split("/")[0] == path


def _speaks_of(statement: str, path: str) -> bool:
    said = re.escape(path)
    return bool(re.search(rf"""['"]/?{said}(?:['"/.{{])|/{said}\b""", statement))


def _prefix_in(attributes: str) -> str | None:
    """The prefix among a group's attributes, "" without one; None if it is not written out."""
    found = _PREFIX_KEY.search(attributes)
    if found is None:
        return "" if attributes.lstrip().startswith(("[", "array")) else None
    quoted = re.match(r"""(['"])([^'"\\$]*)\1\s*(?:,|\]|\)|$)""", attributes[found.end() :])
    return quoted[2] if quoted else None


def _literal(argument: str) -> str | None:
    """The text of an argument that is one string, None of any other."""
    found = re.fullmatch(r"""\s*(?:'([^'\\]*)'|"([^"\\$]*)")\s*""", argument)
    return (found[1] if found[1] is not None else found[2]) if found else None


def _body(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Between the braces of a closure that is an argument."""
    if not re.match(r"\s*(?:static\s+)?function\b", text[start:end]):
        return None
    for at in _places(text, start, end):
        if text[at] == "{":
            return at + 1, _closing(text, at, end)
    return None


def _chain(text: str, start: int, end: int) -> list[_Call]:
    """The calls of ``Route::a(...)->b(...);``, and [] for any other statement."""
    found = _ROUTE.match(text, start, end)
    calls: list[_Call] = []
    at = found.end() if found else end
    while at < end:
        name = _NAME.match(text, at, end)
        if name is None:
            return []
        opening = _past_blanks(text, name.end(), end)
        if opening >= end or text[opening] != "(":
            return []
        closing = _closing(text, opening, end)
        calls.append(_Call(name[0], _arguments(text, opening + 1, closing)))
        at = _past_blanks(text, closing + 1, end)
        if text[at : at + 1] in (";", ""):
            return calls
        following = _NEXT_CALL.match(text, at, end)
        if following is None:
            return []
        at = _past_blanks(text, following.end(), end)
    return calls


def _arguments(text: str, start: int, end: int) -> list[tuple[int, int]]:
    found, begin = [], start
    for at in _places(text, start, end):
        if text[at] == ",":
            found.append((begin, at))
            begin = at + 1
    return [*found, (begin, end)] if text[begin:end].strip() else found


def _statements(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """The statements between two places, each with its ``;`` or the brace that ends it."""
    start = _past_blanks(text, begin, end)
    for at in _places(text, begin, end):
        if at < start:
            continue
        if text[at] == "{":
            stop = _closing(text, at, end) + 1
        elif text[at] == ";":
            stop = at + 1
        else:
            continue
        yield start, stop
        start = _past_blanks(text, stop, end)


def _places(text: str, start: int, end: int) -> Iterator[int]:
    """Each character of code that is outside of strings, comments and inner brackets; of those the opening one."""
    at = start
    while at < end:
        beyond = _past_text(text, at, end)
        if beyond > at:
            at = beyond
            continue
        yield at
        if text[at] in _OPEN:
            at = _closing(text, at, end)
        elif text[at] in _CLOSE:
            raise Unreadable(f"line {_line(text, at)}: {text[at]} closes nothing")
        at += 1


def _closing(text: str, opening: int, end: int) -> int:
    """Where the bracket at ``opening`` is closed."""
    expected, at = [], opening
    while at < end:
        beyond = _past_text(text, at, end)
        if beyond > at:
            at = beyond
            continue
        if text[at] in _OPEN:
            expected.append(_CLOSE[_OPEN.index(text[at])])
        elif text[at] in _CLOSE:
            if text[at] != expected.pop():
                break
            if not expected:
                return at
        at += 1
    raise Unreadable(f"line {_line(text, opening)}: {text[opening]} is not closed")


def _past_text(text: str, at: int, end: int) -> int:
    """Beyond the string or comment that begins here; ``at`` itself if none does."""
    if text.startswith(_HEREDOC, at) or text.startswith(_END_OF_PHP, at):
        raise Unreadable(f"line {_line(text, at)}: {text[at : at + 3].strip()}")
    if text[at] in "'\"`":
        close = at + 1
        while close < end and text[close] != text[at]:
            close += 2 if text[close] == "\\" else 1
        if close >= end:
            raise Unreadable(f"line {_line(text, at)}: a string has no end")
        return close + 1
    if text.startswith("/*", at):
        close = text.find("*/", at + 2, end)
        if close < 0:
            raise Unreadable(f"line {_line(text, at)}: a comment has no end")
        return close + 2
    if text.startswith("//", at) or (text[at] == "#" and not text.startswith("#[", at)):
        line_end = text.find("\n", at, end)
        return end if line_end < 0 else line_end
    return at


def _past_blanks(text: str, at: int, end: int) -> int:
    """The next character of code."""
    while at < end:
        if text[at].isspace():
            at += 1
        elif text[at] in "/#" and (beyond := _past_text(text, at, end)) > at:
            at = beyond
        else:
            break
    return at


def _whole_lines(text: str, start: int, end: int) -> tuple[int, int]:
    """With the line's indentation and its end, where nothing else stands on the line but a comment."""
    line = text.rfind("\n", 0, start) + 1
    after = re.compile(r"[ \t]*(?://[^\n]*|#(?!\[)[^\n]*)?(?:\r?\n|$)").match(text, end)
    if text[line:start].strip() or after is None:
        return start, end
    return line, after.end()


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _told(text: str, at: int) -> str:
    """One statement by its line and its first words."""
    return f"{_line(text, at)}: {' '.join(text[at : at + 200].split(';')[0].split())[:60]}"
