"""What a newcomer reads: complete, the same in both languages, and no link leads nowhere."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGES = ["README.md", "README.ja.md", *(f"docs/{file.name}" for file in sorted((PROJECT / "docs").glob("*.md")))]
READMES = PAGES[:2]


def text_of(page):
    return (PROJECT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("readme", READMES)
def test_every_playbook_has_its_row(readme):
    rows = " ".join(line.split("|")[1] for line in text_of(readme).splitlines() if line.startswith("| `"))
    told = set(re.findall(r"[\w.-]+\.yml", rows))
    assert told == {file.name for file in (PROJECT / "playbooks").glob("*.yml")}


def test_both_readmes_are_built_alike():
    shapes = []
    for readme in READMES:
        lines = text_of(readme).splitlines()
        heads = [re.match("#+", line)[0] for line in lines if line.startswith("#")]
        commands = [line.split("#")[0].split() for line in lines if line.startswith("    ")]
        shapes.append((heads, commands, sum(line.count("|") == 6 for line in lines)))
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("page", PAGES)
def test_no_link_leads_nowhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text_of(page)):
        if "://" not in target:
            assert ((PROJECT / page).parent / target).exists(), target


@pytest.mark.parametrize("picture", ["docs/journey.svg", "docs/journey.ja.svg"])
def test_the_picture_needs_nothing_from_elsewhere_and_has_a_dark_side(picture):
    text = text_of(picture)
    ElementTree.fromstring(text)
    assert not re.search(r"href|url\((?!#)|@import|<script", text)
    assert "prefers-color-scheme: dark" in text
    assert f"]({picture})" in text_of("README.ja.md" if ".ja." in picture else "README.md")
