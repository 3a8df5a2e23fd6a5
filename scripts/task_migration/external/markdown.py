"""Markdown tables that are also readable in a terminal, and the cells and numbers in them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def table(headers: Sequence[str], rows: Sequence[Sequence[str | int]]) -> str:
    """Returns a Markdown table whose columns are aligned in a terminal; columns of numbers are aligned to the right."""
    right = [all(isinstance(row[column], int) for row in rows) for column in range(len(headers))]
    drawn = [[number(value) if isinstance(value, int) else cell(value) for value in row] for row in rows]
    widths = [max(3, *(_width(row[column]) for row in [headers, *drawn])) for column in range(len(headers))]

    def line(row: Sequence[str]) -> str:
        cells = []
        for text, width, to_the_right in zip(row, widths, right, strict=True):
            gap = " " * (width - _width(text))
            cells.append(gap + text if to_the_right else text + gap)
        return f"| {' | '.join(cells)} |"

    rule = [
        "-" * (width - 1) + (":" if to_the_right else "-") for width, to_the_right in zip(widths, right, strict=True)
    ]
    return "\n".join([line(headers), f"| {' | '.join(rule)} |", *map(line, drawn)])


def _width(text: str) -> int:
    """Returns how many columns of a terminal the text takes; a Japanese character takes two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def cell(text: object) -> str:
    """Returns the text escaped, so that it stays in its cell and line."""
    return " ".join(str(text).split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def number(value: int) -> str:
    return f"{value:,}"
