"""Removes the routes below one path from a routes file of Laravel, and nothing else, byte for byte.

tree-sitter parses the file into statements. A route is removed if its path, with the prefixes of its groups, is written
out as text. A path that is built at run time is left in place and reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import tree_sitter_php
from tree_sitter import Language, Node, Parser

_LANGUAGE = Language(tree_sitter_php.language_php())
_RESOURCES = {"resource", "apiResource", "singleton", "apiSingleton"}
_PLACE_OF_URI = {
    **dict.fromkeys(("get", "post", "put", "patch", "delete", "options", "any", "view", "inertia", "livewire"), 0),
    **dict.fromkeys(("redirect", "permanentRedirect", *_RESOURCES), 0),
    "match": 1,
}
"""The position of the path among the arguments of these methods."""
_NO_ROUTES = {"php_tag", "comment", "namespace_use_declaration"}


class UnreadablePhp(Exception):
    """The file cannot be parsed as PHP."""


@dataclass(frozen=True)
class WithoutRoutes:
    """``text`` without the routes. ``removed`` are their lines as "12: Route::get('/tasks'". ``doubtful`` are
    statements that mention the path and were left, because it is not clear whether they are its routes."""

    text: bytes
    removed: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Call:
    """One call of a chain."""

    name: str
    arguments: list[Node]


def without_routes(text: bytes, path: str) -> WithoutRoutes:
    """Returns the file without the routes of ``path`` ("tasks": /tasks and all below it). Raises UnreadablePhp."""
    cuts: list[Node] = []
    doubtful: list[Node] = []
    _walk(_parsed(text), path, cuts, doubtful)
    return WithoutRoutes(_cut(text, cuts), [_summary(one) for one in cuts], [_summary(one) for one in doubtful])


def without_imports(text: bytes, names: set[str]) -> bytes:
    """Returns the file without the ``use`` of these classes, unless it still uses their names."""
    cuts = []
    for statement in _parsed(text).named_children:
        if (imported := _imported(statement)) and imported[0] in names:
            rest = text[: statement.start_byte] + text[statement.end_byte :]
            if not re.search(rf"\b{imported[1]}\b".encode(), rest):
                cuts.append(statement)
    return _cut(text, cuts)


def declared_classes(text: bytes) -> list[str]:
    """Returns the full names of the classes, interfaces, traits and enums that a PHP file declares."""
    return list(_declared(Parser(_LANGUAGE).parse(text).root_node, ""))


def _declared(block: Node, namespace: str) -> Iterator[str]:
    for one in block.named_children:
        name, body = one.child_by_field_name("name"), one.child_by_field_name("body")
        if one.type == "namespace_definition":
            inner = f"{_text(name)}\\" if name is not None else ""
            if body is None:
                namespace = inner
            else:
                yield from _declared(body, inner)
        elif one.type.endswith("_declaration") and name is not None and body is not None:
            yield f"{namespace}{_text(name)}"


def _parsed(text: bytes) -> Node:
    root = Parser(_LANGUAGE).parse(text).root_node
    if all(one.type != "php_tag" for one in root.children):
        raise UnreadablePhp("it is not PHP")
    if root.has_error:
        row = _first_error(root).start_point.row
        raise UnreadablePhp(f"line {row + 1}: {text.splitlines()[row].decode(errors='replace').strip()[:60]}")
    return root


def _first_error(node: Node) -> Node:
    """Returns the innermost place that could not be parsed."""
    broken = next((one for one in node.children if one.has_error or one.is_error or one.is_missing), None)
    return node if broken is None else _first_error(broken)


def _walk(block: Node, path: str, cuts: list[Node], doubtful: list[Node]) -> None:
    """Checks each statement of a block, and of groups in it that add nothing to the path."""
    for statement in block.named_children:
        if statement.type in _NO_ROUTES:
            continue
        is_route, body = _is_route(_chain(statement), path)
        if is_route:
            cuts.append(statement)
        elif body:
            _walk(body, path, cuts, doubtful)
        elif is_route is None and _mentions(_text(statement), path):
            doubtful.append(statement)


def _is_route(calls: list[_Call], path: str) -> tuple[bool | None, Node | None]:
    """Returns whether these calls are a route of the path (None: not known), and the body of a group to check."""
    prefixes = [_literal(call.arguments[0]) if call.arguments else None for call in calls if call.name == "prefix"]
    for call in calls:
        if call.name == "group":
            inner = _prefix_among(call.arguments[0]) if len(call.arguments) == 2 else ""
            if inner is None or None in prefixes:
                return None, None
            whole = "/".join([*filter(None, prefixes), inner]).strip("/")
            if whole:
                return _is_below(whole, path), None
            body = _closure(call.arguments[-1]) if call.arguments else None
            return (False, body) if body else (None, None)
        if call.name in _PLACE_OF_URI:
            place = _PLACE_OF_URI[call.name]
            uri = _literal(call.arguments[place]) if len(call.arguments) > place else None
            if None in prefixes or (uri is None and not prefixes):
                return None, None
            own = (uri or "").replace(".", "/") if call.name in _RESOURCES else uri or ""
            return _is_below("/".join([*filter(None, prefixes), own]), path), None
    return None, None


def _is_below(uri: str, path: str) -> bool:
    return uri.strip("/").split("/")[0] == path


def _mentions(statement: str, path: str) -> bool:
    escaped = re.escape(path)
    return bool(re.search(rf"""['"]/?{escaped}(?:['"/.{{])|/{escaped}\b""", statement))


def _chain(statement: Node) -> list[_Call]:
    """Returns the calls of ``Route::a(...)->b(...);``, and [] for any other statement."""
    calls: list[_Call] = []
    call = statement.named_child(0) if statement.type == "expression_statement" else None
    while call is not None and call.type in ("member_call_expression", "scoped_call_expression"):
        name, arguments = call.child_by_field_name("name"), call.child_by_field_name("arguments")
        if name is None or name.type != "name" or arguments is None:
            return []
        calls.insert(0, _Call(_text(name), [one for one in arguments.named_children if one.type == "argument"]))
        if call.type == "scoped_call_expression":
            scope = call.child_by_field_name("scope")
            return calls if scope is not None and _text(scope).split("\\")[-1] == "Route" else []
        call = call.child_by_field_name("object")
    return []


def _literal(argument: Node) -> str | None:
    """Returns the text of an argument that is one string, None for any other."""
    string = argument.named_child(0) if len(argument.named_children) == 1 else None
    if string is None or string.type not in ("string", "encapsed_string"):
        return None
    if any(one.type != "string_content" for one in string.named_children):
        return None
    return "".join(map(_text, string.named_children))


def _prefix_among(attributes: Node) -> str | None:
    """Returns the prefix among a group's attributes, "" without one, None if it is not written out as text."""
    array = attributes.named_child(0)
    if array is None or array.type != "array_creation_expression":
        return None
    for one in array.named_children:
        pair = one.named_children if one.type == "array_element_initializer" else []
        if len(pair) == 2 and _text(pair[0]).strip("'\"") == "prefix":
            written = pair[1].type in ("string", "encapsed_string")
            return _text(pair[1])[1:-1] if written and "$" not in _text(pair[1]) else None
    return ""


def _closure(argument: Node) -> Node | None:
    """Returns the body of a function that is an argument."""
    function = argument.named_child(0)
    return function.child_by_field_name("body") if function is not None and "anonymous" in function.type else None


def _imported(statement: Node) -> tuple[str, str] | None:
    """Returns the class of a ``use`` statement, and its name in this file; None for other statements."""
    clauses = [one for one in statement.named_children if one.type == "namespace_use_clause"]
    if statement.type != "namespace_use_declaration" or len(clauses) != 1:
        return None
    name, alias = clauses[0].named_child(0), clauses[0].child_by_field_name("alias")
    full = _text(name).lstrip("\\") if name is not None else ""
    return full, _text(alias) if alias is not None else full.rpartition("\\")[2]


def _cut(text: bytes, statements: list[Node]) -> bytes:
    for start, end in reversed([_whole_lines(text, one.start_byte, one.end_byte) for one in statements]):
        text = text[:start] + text[end:]
    return text


def _whole_lines(text: bytes, start: int, end: int) -> tuple[int, int]:
    """Extends the range to the whole line, if nothing else but a comment is on it."""
    line = text.rfind(b"\n", 0, start) + 1
    after = re.compile(rb"[ \t]*(?://[^\n]*|#(?!\[)[^\n]*)?(?:\r?\n|$)").match(text, end)
    if text[line:start].strip() or after is None:
        return start, end
    return line, after.end()


def _text(node: Node) -> str:
    return (node.text or b"").decode(errors="replace")


def _summary(statement: Node) -> str:
    """Returns the line number and the first words of a statement."""
    return f"{statement.start_point.row + 1}: {' '.join(_text(statement)[:200].split(';')[0].split())[:60]}"
