"""The documents are complete, the same in both languages, and every path, link and command in them exists."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from functools import cache
from pathlib import Path

import pytest
from task_migration.parameters import parameters

PROJECT = Path(__file__).parents[2]
READMES = ["README.md", "README.ja.md"]
DETAILS = ["docs/playbooks.md", "docs/playbooks.ja.md"]
DOCUMENTS = [*READMES, *(str(file.relative_to(PROJECT)) for file in sorted((PROJECT / "docs").rglob("*.md")))]
FOLDERS = [
    str(file.relative_to(PROJECT))
    for folder in ("extensions", "inventories", "playbooks", "roles", "scripts", "terraform", "tests")
    for file in sorted((PROJECT / folder).rglob("README.md"))
]
PAGES = [*DOCUMENTS, *FOLDERS]
# A path in a document starts at the root, the folder in which commands are typed, the core or its mappings.
STARTS = [
    PROJECT / folder
    for folder in ("", "playbooks", "scripts/task_migration", "scripts/task_migration/mapping/task_service")
]
# Written by a run, or part of another project.
WRITTEN = {"rehearsals.jsonl", "runs.jsonl", "endpoints.json", "preflight.json", "terraform.tfstate", "listen.yml"}
# A file that the page itself holds: its name, then its content.
HELD = re.compile(r"^`(\S+)`:\n\n```", re.MULTILINE)
COMMAND = re.compile(
    r"ansible-playbook (?:-i \S+ )?(?:playbooks/)?(?P<playbook>[\w.-]+)\.yml"
    r"(?P<rest>(?:(?!ansible-playbook)[^`|\n#;])*)"
)
SHORT_COMMAND = re.compile(r"`(?P<playbook>[\w.-]+)\.yml(?P<rest> [^`]*)`")


@cache
def text_of(page):
    return (PROJECT / page).read_text(encoding="utf-8")


def prose_of(page):
    """The lines outside of code blocks."""
    text = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    return "\n".join(line for line in text.splitlines() if not line.startswith("    "))


@cache
def file_names():
    kept = (".git", ".venv", ".lab", "reports", ".mypy_cache", "node_modules")
    return {path.name for path in PROJECT.rglob("*") if not set(kept) & set(path.relative_to(PROJECT).parts)}


def playbooks():
    return {file.name for file in (PROJECT / "playbooks").glob("*.yml")}


def rows_of(page):
    return [line for line in text_of(page).splitlines() if line.startswith("| `")]


@pytest.mark.parametrize("page", [*READMES, *DETAILS])
def test_every_playbook_has_its_row(page):
    first_cells = " ".join(row.split("|")[1] for row in rows_of(page))
    assert set(re.findall(r"[\w.-]+\.yml", first_cells)) == playbooks()


@pytest.mark.parametrize("pages", [READMES, DETAILS], ids=str)
def test_both_languages_are_built_alike(pages):
    shapes = []
    for page in pages:
        lines = text_of(page).splitlines()
        heads = [re.match("#+", line)[0] for line in lines if line.startswith("#")]
        # The Japanese page on playbooks ends with what the English page on production begins with.
        heads = heads if page in READMES else heads[:6]
        commands = [line.split("#")[0].split() for line in lines if line.startswith("    ")]
        tables = [(row.split("`")[1].split()[0], row.count("|")) for row in rows_of(page)]
        shapes.append((heads, commands, tables))
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("page", READMES)
def test_a_readme_fits_a_screen_of_120_columns(page):
    assert not [line for line in text_of(page).splitlines() if len(line) > 120 and not line.startswith("|")]


@pytest.mark.parametrize("page", PAGES)
def test_no_link_leads_nowhere(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", prose_of(page)):
        if "://" in target:
            continue
        file = (PROJECT / page).parent / target if target else PROJECT / page
        assert file.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}, anchor


@pytest.mark.parametrize("page", PAGES)
def test_every_path_in_backticks_exists(page):
    here = (PROJECT / page).parent
    written = WRITTEN | set(HELD.findall(text_of(page)))
    missing = []
    for span in re.findall(r"`([^`\n]+)`", prose_of(page)):
        if re.fullmatch(r"(\.{1,2}/)*[\w.-]+(/[\w.-]+)+/?|[\w.-]+/", span):
            # "application/json" looks like a path: it is one if it starts with a folder of the project.
            found = any((start / span).exists() for start in (*STARTS, here, here.parent))
            starts_here = any((start / span.split("/")[0]).exists() for start in (*STARTS, here))
            if not found and (starts_here or span.startswith(".")) and not {span, *span.split("/")} & written:
                missing.append(span)
        elif re.fullmatch(r"[\w-]+(\.[\w-]+)*\.(py|sql|yml|tf|j2|svg)", span) and span not in written | file_names():
            missing.append(span)
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_every_command_names_a_playbook_and_declared_parameters(page):
    commands = [*COMMAND.finditer(text_of(page)), *SHORT_COMMAND.finditer(prose_of(page))]
    for command in commands:
        playbook = command["playbook"]
        assert f"{playbook}.yml" in playbooks(), command[0]
        for name in re.findall(r"-e ['\"]?(\w+)=", command["rest"]):
            declared = parameters().get(name)
            assert declared, f"{command[0]}: {name} is not declared"
            assert not declared.only or playbook in declared.only, f"{command[0]}: {name} is not for this playbook"


@pytest.mark.parametrize("page", PAGES)
def test_every_module_that_is_named_exists(page):
    plugins = PROJECT / "scripts/ansible_collections/task_service/migration/plugins"
    for name in re.findall(r"task_service\.migration\.(\w+)", text_of(page)):
        assert any(plugins.glob(f"*/{name}.py")), name


def test_every_name_of_the_code_in_the_contributing_notes_exists():
    code = "\n".join(
        file.read_text(encoding="utf-8")
        for folder in ("scripts", "tests", "roles")
        for kind in ("py", "yml")
        for file in sorted((PROJECT / folder).rglob(f"*.{kind}"))
    )
    spans = re.findall(r"`(\w+)`", text_of("docs/contributing.md"))
    names = {span for span in spans if re.fullmatch(r"_\w+|[A-Z]\w*[a-z]\w*|[A-Z]{3,}|\w+_\w+", span)}
    assert not {name for name in names if not re.search(rf"\b{name}\b", code)}


@pytest.mark.parametrize("page", PAGES)
def test_every_script_that_is_named_exists(page):
    for script in re.findall(r"(?<![\w/.])\./((?:scripts|extensions|\.ci)/[\w./-]*\w)", text_of(page)):
        assert (PROJECT / script).is_file(), script


# The page that lists them.
LISTS_THE_WORDS = "docs/contributing.md"


@pytest.mark.parametrize("page", [page for page in PAGES if page != LISTS_THE_WORDS])
def test_documents_are_in_plain_english(page):
    words = r"\b(whoever|whom|nobody|somebody|anybody|won.t do|way home|ways home|mend(s|ed)?)\b"
    found = [line.strip()[:100] for line in prose_of(page).splitlines() if re.search(words, line, re.IGNORECASE)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("picture", ["docs/journey.svg", "docs/journey.ja.svg"])
def test_the_picture_loads_nothing_and_has_a_dark_mode(picture):
    text = text_of(picture)
    ElementTree.fromstring(text)
    assert not re.search(r"href|url\((?!#)|@import|<script", text)
    assert "prefers-color-scheme: dark" in text
    assert f"]({picture})" in text_of("README.ja.md" if ".ja." in picture else "README.md")
