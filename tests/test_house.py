"""The rules of this house, each as a test that says what was forgotten."""

from __future__ import annotations

import ast
import configparser
import inspect
import json
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from ansible_collections.task_service.migration.plugins.action.run_core import INVENTORY_KEYS, PROVIDED, core_function
from task_migration.control import checklist
from task_migration.options import REQUIRED, defaults_of
from task_migration.parameters import OF_THE_LAB, parameters
from task_migration.traffic.weight import WEIGHTS

ROOT = Path(__file__).resolve().parents[1]
COLLECTION = ROOT / "scripts/ansible_collections/task_service/migration"
MODULES = sorted(file.stem for file in (COLLECTION / "plugins/modules").glob("*.py"))
ROLES = sorted(folder.name for folder in (ROOT / "roles").iterdir() if folder.is_dir())
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
INVENTORIES = sorted(folder for folder in (ROOT / "inventories").iterdir() if folder.is_dir())
PYTHON = [
    file
    for folder in ("task_migration", "lab", "awx", "ansible_collections")
    for file in sorted((ROOT / "scripts" / folder).rglob("*.py"))
]
ROLE_WORDS = ("ansible.builtin.import_role", "ansible.builtin.include_role")
NAMES_NO_FILE_BEARS = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def read(file):
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def tasks_of(file):
    """Every task of a file of tasks or of a playbook, those in blocks too."""

    def walk(tasks):
        for task in tasks or []:
            yield task
            for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
                yield from walk(task.get(part))

    return list(walk(read(file)))


def calls():
    """Each call of a module of ours in a role or a playbook: the file, the module, and the options that it names."""
    for file in [*PLAYBOOKS, *sorted((ROOT / "roles").rglob("tasks/*.yml"))]:
        for task in tasks_of(file):
            for key in task:
                if key.startswith("task_service.migration."):
                    yield file.relative_to(ROOT), key.rpartition(".")[2], set(task[key] or {})


def entries_of(file):
    """Each entry point of a role that a file uses, in order, as "guard/operator_lock", with the task that does."""
    return [
        (f"{one['name']}/{one['tasks_from']}", task)
        for task in tasks_of(file)
        for word in ROLE_WORDS
        if (one := task.get(word))
    ]


def options_of(entry):
    """What an entry point of a role takes, by its argument_specs."""
    role, _, name = entry.partition("/")
    return read(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"][name].get("options", {})


def expressions(value, *, bare=False):
    """Every expression of Jinja in a part of a task: what stands in braces, and a condition without any."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from expressions(one, bare=key in ("when", "that"))
    elif isinstance(value, list):
        for one in value:
            yield from expressions(one, bare=bare)
    elif isinstance(value, str):
        yield from [value] if bare else re.findall(r"\{\{.*?\}\}", value, re.DOTALL)


def core_path(module):
    return import_module(f"ansible_collections.task_service.migration.plugins.modules.{module}").CORE_FUNCTION


def noun_of(module):
    return module.removeprefix("lab_")


@pytest.fixture(scope="session")
def documented():
    """What ansible-doc renders of each module: its documentation, examples and return values."""
    names = [f"task_service.migration.{module}" for module in MODULES]
    command = [Path(sys.executable).parent / "ansible-doc", "--json", "-t", "module", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name.rpartition(".")[2]: one for name, one in json.loads(done.stdout).items()}


# Configuration


def test_the_two_ansible_cfg_agree():
    here, below = configparser.ConfigParser(), configparser.ConfigParser()
    here.read(ROOT / "ansible.cfg")
    below.read(ROOT / "playbooks/ansible.cfg")
    paths = {("defaults", "inventory"), ("defaults", "roles_path")}
    as_seen_from_the_root = {
        section: {
            name: value.removeprefix("../") if (section, name) in paths else value
            for name, value in below[section].items()
        }
        for section in below
    }
    assert {section: dict(here[section]) for section in here} == as_seen_from_the_root
    assert all(below[section][name].startswith("../") for section, name in paths)


def test_the_default_inventory_is_the_lab():
    here = configparser.ConfigParser()
    here.read(ROOT / "ansible.cfg")
    assert here["defaults"]["inventory"] == "inventories/local"


@pytest.mark.parametrize("inventory", INVENTORIES, ids=lambda folder: folder.name)
def test_every_inventory_holds_exactly_the_declared_keys(inventory):
    values = read(inventory / "group_vars/all.yml")
    assert values.keys() == INVENTORY_KEYS == {name for name, one in parameters().items() if not one.only}
    assert values["migration_environment"] == inventory.name


@pytest.mark.parametrize("inventory", INVENTORIES, ids=lambda folder: folder.name)
def test_no_inventory_holds_a_password(inventory):
    for file in inventory.rglob("*.yml"):
        assert not re.search(r"pass(word|wd)?\s*[=:]|secret|token(?!_file)|://", file.read_text(), re.IGNORECASE), file


def test_production_may_not_be_destroyed():
    assert read(ROOT / "inventories/production/group_vars/all.yml")["allow_destroy"] is False


# One noun through every hop


@pytest.mark.parametrize("module", MODULES)
def test_every_module_names_the_core_function_of_its_own_noun(module):
    noun = noun_of(module)
    package = "lab" if module.startswith("lab_") else "task_migration"
    assert re.fullmatch(rf"{package}(\.\w+)?\.{noun}\.{noun}", core_path(module))
    assert callable(core_function(core_path(module)))


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_the_entry_point_of_its_own_noun(module):
    """In one role; and only entry points of that noun call it, such as capture, capture_gate and capture_rollback."""
    noun = noun_of(module)
    callers = {file for file, called, _ in calls() if called == module}
    assert {(file.parts[0], file.parts[2]) for file in callers} == {("roles", "tasks")}
    assert len({file.parts[1] for file in callers}) == 1
    assert noun in {file.stem for file in callers}
    assert all(file.stem == noun or file.stem.startswith(f"{noun}_") for file in callers)


def test_every_module_is_run_by_run_core():
    routed = read(COLLECTION / "meta/runtime.yml")["plugin_routing"]["modules"]
    assert routed == {module: {"action_plugin": "task_service.migration.run_core"} for module in MODULES}


@pytest.mark.parametrize("module", MODULES)
def test_a_modules_options_are_its_functions_parameters(module, documented):
    """A parameter that is a dataclass stands for its fields."""
    options = documented[module]["doc"]["options"]
    function = core_function(core_path(module))
    for name, one in inspect.signature(function).parameters.items():
        assert one.kind is inspect.Parameter.KEYWORD_ONLY, f"{name} can be given by position"
    taken = {name: default for name, default in defaults_of(function).items() if name not in PROVIDED}
    assert options.keys() == taken.keys()
    for name, default in taken.items():
        assert options[name].get("required", False) or "default" in options[name], (
            f"{name}: neither required nor default"
        )
        if default is not REQUIRED and "default" in options[name]:
            assert options[name]["default"] == default or not (options[name]["default"] or default), name


@pytest.mark.parametrize("module", MODULES)
def test_every_module_is_documented_with_an_example_and_what_it_gives_back(module, documented):
    documentation = documented[module]["doc"]
    assert documentation["short_description"]
    assert f"task_service.migration.{module}:" in documented[module]["examples"]
    assert {"msg", "details"} <= documented[module]["return"].keys()
    assert all(option["description"] and option["type"] for option in documentation["options"].values())


def test_ansible_doc_renders_every_module(documented):
    assert documented.keys() == set(MODULES)
    assert all("error" not in one for one in documented.values())


@pytest.mark.parametrize("module", MODULES)
def test_every_option_has_a_value_from_somewhere(module, documented):
    """The inventory's key of its name, a default, or each task that calls the module; and each is set by somebody."""
    options = documented[module]["doc"]["options"]
    own = options.keys() - INVENTORY_KEYS
    named = {file: names for file, called, names in calls() if called == module}
    required = {name for name in own if options[name].get("required")}
    assert not {file: required - names for file, names in named.items() if required - names}
    assert own <= set().union(*named.values()), "options that are named nowhere, and are in no inventory"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_where_the_rest_comes_from(module, documented):
    notes = " ".join(documented[module]["doc"].get("notes", []))
    from_inventory = documented[module]["doc"]["options"].keys() & INVENTORY_KEYS
    assert ("the inventory's key of the same name" in notes) == bool(from_inventory)


# Roles and playbooks


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_of_a_role_says_what_it_takes(role):
    """It takes its role's variables that no step registers, and what the role's other entry points take through it."""
    files = sorted((ROOT / "roles" / role / "tasks").glob("*.yml"))
    specs = read(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    assert specs.keys() == {file.stem for file in files}
    registered = {task["register"] for file in files for task in tasks_of(file) if "register" in task}
    for file in files:
        used = {name for text in expressions(read(file)) for name in re.findall(rf"\b{role}_\w+", text)}
        for entry, task in entries_of(file):
            used |= options_of(entry).keys() - task.get("vars", {}).keys() if entry.startswith(f"{role}/") else set()
        assert used - registered == options_of(f"{role}/{file.stem}").keys(), file.stem


@pytest.mark.parametrize("role", ROLES)
def test_a_roles_variables_carry_its_name(role):
    specs = read(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    for entry in specs.values():
        assert all(name.startswith(f"{role}_") for name in entry.get("options", {}))


@pytest.mark.parametrize("role", ROLES)
def test_every_role_explains_itself(role):
    """Its README has a row for each entry point: what it does, what it takes, what it registers."""
    text = (ROOT / "roles" / role / "README.md").read_text()
    assert text.startswith(f"# {role}\n")
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| ([^|]*) \| ([^|]*) \|$", text, re.MULTILINE)
    files = {file.stem: file for file in (ROOT / "roles" / role / "tasks").glob("*.yml")}
    assert sorted(name for name, *_ in rows) == sorted(files)
    for name, _, takes, registers in rows:
        assert set(re.findall(r"`(\w+)`", takes)) == options_of(f"{role}/{name}").keys(), name
        noted = {task["register"] for task in tasks_of(files[name]) if "register" in task}
        assert set(re.findall(r"`(\w+)`", registers)) == {one for one in noted if not one.endswith("_reply")}, name


def test_every_entry_point_is_used():
    files = [*PLAYBOOKS, *(ROOT / "roles").rglob("tasks/*.yml")]
    used = {entry for file in files for entry, _ in entries_of(file)}
    assert used == {f"{file.parts[-3]}/{file.stem}" for file in (ROOT / "roles").rglob("tasks/*.yml")}


FILES = [*PLAYBOOKS, *sorted((ROOT / "roles").rglob("tasks/*.yml"))]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_an_entry_point_is_given_only_what_it_takes(file):
    for entry, task in entries_of(file):
        assert task.get("vars", {}).keys() <= options_of(entry).keys(), entry


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_key_of_the_inventory_is_given_no_other_value(file):
    """A module takes what its task leaves out by the key's name, so nothing else may have that name."""
    for task in tasks_of(file):
        facts = task.get("ansible.builtin.set_fact", {}).keys()
        given = facts | task.get("vars", {}).keys() | {task.get("register")}
        assert not given & INVENTORY_KEYS, task["name"]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_no_values_of_its_own(role):
    folders = {folder.name for folder in (ROOT / "roles" / role).iterdir() if folder.is_dir()}
    assert folders == {"meta", "tasks"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_yaml_holds_no_program(file):
    words = {"shell", "command", "raw", "script", "expect"}
    for task in tasks_of(file):
        assert not {key.rpartition(".")[2] for key in task} & words
        assert not {"ignore_errors", "failed_when"} & task.keys()
        assert "changed_when" not in task or file.stem.endswith("_gate")  # a gate changes nothing, whatever it asks
    assert not re.search(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE) [A-Za-z_]+ (FROM|INTO|SET|TABLE)?", file.read_text())


@pytest.mark.parametrize("file", PLAYBOOKS, ids=lambda file: file.name)
def test_every_playbook_checks_what_was_typed_first_and_runs_on_the_runner_alone(file):
    (play,) = read(file)
    assert (play["hosts"], play["connection"], play["gather_facts"]) == ("runner", "local", False)
    entry, task = entries_of(file)[0]
    assert (entry, task) == ("guard/check_inputs", play["tasks"][0])
    assert task["vars"]["guard_playbook"] == file.stem


# Works without any database, where the lock lies.
WITHOUT_LOCK = {"break-glass.yml"}
# The only entry points that take no lock: they look, or are another operator's, or come before there is a database to
# hold one.
UNLOCKED = {
    *("guard/check_inputs", "guard/target_gate", "copy/preflight", "canary/watch", "journal/approval", "alert/alert"),
    *("report/status", "report/migration_report", "report/sync_report"),
    *("database/database_roles", "database/database_roles_rollback"),
    *("lab/up", "lab/down", "lab/users", "lab/fault", "lab/rehearsal"),
}


@pytest.mark.parametrize(
    "file", [file for file in PLAYBOOKS if file.name not in WITHOUT_LOCK], ids=lambda file: file.name
)
def test_every_playbook_that_changes_something_takes_the_lock_before_it_does(file):
    used = entries_of(file)
    names = [entry for entry, _ in used]
    if set(names) - UNLOCKED:
        first = next(number for number, entry in enumerate(names) if entry not in UNLOCKED)
        # Who only looks before that may look for days; whoever acts takes the lock as the first thing.
        assert names[first] == "guard/operator_lock"
        assert used[first][1]["vars"]["guard_command"] == file.stem
        assert set(names[:first]) <= {"guard/check_inputs", "guard/target_gate", "canary/watch"}


@pytest.mark.parametrize("file", PLAYBOOKS, ids=lambda file: file.name)
def test_every_playbook_that_writes_compares_the_target_before_its_lock(file):
    names = [entry for entry, _ in entries_of(file)]
    if {"guard/operator_lock", "journal/journal", "journal/approval"} & set(names):
        assert names[1] == "guard/target_gate"


@pytest.mark.parametrize("file", PLAYBOOKS, ids=lambda file: file.name)
def test_every_rescue_ends_with_a_failure(file):
    for task in tasks_of(file):
        if "rescue" in task and "always" not in task:
            last = task["rescue"][-1]
            last = last["always"][-1] if "always" in last else last
            assert "ansible.builtin.fail" in last


def test_parameters_of_a_playbook_name_playbooks_that_exist():
    names = {file.stem for file in PLAYBOOKS}
    assert {playbook for one in parameters().values() for playbook in one.only} | set(OF_THE_LAB) <= names


def test_the_checklist_names_each_weight_of_the_canary():
    (canary,) = (phase for phase in checklist.phases() if phase.phase == "2.4")
    named = [str(item.evidence.get("journal", "")) for item in canary.items]
    expected = [f"weight_{weight}" for weight in WEIGHTS if weight]
    assert [name for name in named if name.startswith("weight_")] == expected


# Python


# Where statements are put together from columns that the catalog names, which no file can hold.
COMPOSING = {"task_migration/sync/table_shape.py", "task_migration/postgres/database.py"}


def test_no_sql_in_python():
    verb = r"(SELECT|INSERT INTO|UPDATE \S+ SET|DELETE FROM|CREATE|DROP|ALTER|COPY|TRUNCATE|GRANT|WITH)\b"
    statement = re.compile(rf"\s*{verb}.*[({{\s]", re.DOTALL)
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}: {node.value[:60]}"
        for file in PYTHON
        if str(file.relative_to(ROOT / "scripts")) not in COMPOSING
        for node in executed(ast.parse(file.read_text()))
        if statement.match(node.value) and "set_config(" not in node.value  # a session's setting, no statement
    ]
    assert not found, "\n".join(found)


def executed(tree):
    """The text constants that are handed to something's execute, or made into SQL."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") in ("execute", "executemany", "copy", "SQL"):
            for part in ast.walk(call):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part


def test_file_names_say_what_is_in_them():
    assert not [file for file in PYTHON if file.stem in NAMES_NO_FILE_BEARS]


def test_nothing_of_ansible_is_in_the_core():
    for file in (ROOT / "scripts/task_migration").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) ansible", file.read_text(), re.MULTILINE), file


def test_no_class_name_stands_for_two_things():
    places = {}
    for file in [
        file for package in (*ROOMS, "benchmark") for file in sorted((ROOT / "scripts" / package).rglob("*.py"))
    ]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name.lstrip("_"), []).append(f"{file.relative_to(ROOT)}:{node.lineno}")
    found = [f"{name}: {', '.join(where)}" for name, where in places.items() if len(where) > 1]
    assert not found, "\n".join(found)


# The words that docs/contributing.md rules out, where the usual word is always shorter to understand.
PRIVATE_WORDS = re.compile(
    r"\b(whoever|whom|nobody|somebody|anybody|mend(s|ed|ing)?|stands|told|way home|brought home|taken back|won.t do)\b",
    re.IGNORECASE,
)
# Lines that may hold one, with the reason.
WORDS_ALLOWED = {
    ("scripts/lab/servers/postgres_server.py", "nobody"): "the operating system's user of this name",
    ("scripts/benchmark/plan_script/migrate-tasks-data.js", "stands"): "the plan's own script, with its first comment",
}
WORD_LIST = re.compile(r"<!-- plain English.*?\n\n", re.DOTALL)


def private_words(texts):
    """Each line of these texts, by path, that holds such a word and may not."""
    for path, text in texts.items():
        for number, line in enumerate(text.splitlines(), 1):
            for found in PRIVATE_WORDS.finditer(line):
                if (path, found[0].lower()) not in WORDS_ALLOWED:
                    yield f"{path}:{number}: {found[0]!r} is not a word of PostgreSQL's or Ansible's documentation"


def texts():
    """The text of each file of the code, the roles, the playbooks and the docs, by its path."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "scripts", "roles", "playbooks", "inventories", "terraform", "docs", "README.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = {}
    for path in filter(None, listed.split("\0")):
        try:
            text = (ROOT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        # contributing.md lists the words themselves; the same number of lines stays.
        found[path] = WORD_LIST.sub(lambda listed: "\n" * listed[0].count("\n"), text)
    return found


def test_the_words_are_those_of_postgresqls_and_ansibles_documentation():
    assert not (found := list(private_words(texts()))), "\n".join(found)


def test_each_word_that_is_allowed_is_still_there():
    known = texts()
    assert [one for one in WORDS_ALLOWED if one[1] not in known[one[0]]] == []


def test_a_private_word_is_named_with_its_line():
    assert list(private_words({"docs/a.md": "fine\nNobody mends it"})) == [
        "docs/a.md:2: 'Nobody' is not a word of PostgreSQL's or Ansible's documentation",
        "docs/a.md:2: 'mends' is not a word of PostgreSQL's or Ansible's documentation",
    ]


# Rooms: each folder of Python, and what it may import of ours. "" is the package's own top level.

_TOP = {""}
_GROUND = _TOP | {"external", "mapping", "postgres", "control", "sync"}
ROOMS = {
    "task_migration": {
        "": set(),
        "external": _TOP,
        "mapping": _TOP,
        "postgres": _TOP | {"external", "mapping"},
        "control": _TOP | {"external", "mapping", "postgres"},
        "sync": _GROUND - {"sync"},
        "runtime": _GROUND,
        "prepare": _GROUND,
        "compare": _GROUND | {"prepare"},
        # Without a database: a rollback of traffic never waits for one.
        "traffic": _TOP | {"external"},
        "canary": (_GROUND | {"runtime", "traffic"}) - {"mapping"},
        "report": _GROUND | {"runtime", "prepare", "compare", "traffic"},
        "finish": _GROUND | {"runtime", "prepare", "compare", "traffic", "canary"},
    },
    "lab": {
        # Its top level is what the playbooks of the lab do (up, down, users, fault), and where everything of a lab is.
        "": {"servers", "supervisor", "apps", "gateway", "load"},
        "servers": _TOP,
        "supervisor": set(),
        "apps": _TOP | {"servers"},
        "gateway": _TOP | {"servers", "apps"},
        # The accounting reads the tasks with the applications' statement.
        "load": _TOP | {"servers", "apps"},
        "rehearsal": _TOP | {"servers", "supervisor", "load"},
    },
}
# Who starts a program may import from every room.
COMPOSING_ROOMS = {"task_migration/__main__.py"}


def room_of(dotted, package):
    """The room that a dotted name of this package is in: "task_migration.sync.drain.drain" is in "sync"."""
    first = dotted.split(".")[1] if "." in dotted else ""
    return first if first in ROOMS[package] else ""


def imports_of(file):
    """The dotted names that a file imports, wherever in it the import is, each with its line."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((f"{node.module}.{one.name}", node.lineno) for one in node.names)
        elif isinstance(node, ast.Import):
            yield from ((one.name, node.lineno) for one in node.names)


def forbidden_imports(folder, package):
    """One line for each import below ``folder`` that leads from a room to one that it may not import."""
    for file in sorted(folder.rglob("*.py")):
        place = file.relative_to(folder)
        room = place.parts[0] if len(place.parts) > 1 else ""
        if f"{package}/{place}" in COMPOSING_ROOMS:
            continue
        for dotted, line in imports_of(file):
            if dotted.split(".")[0] != package:
                if package == "task_migration" and dotted.split(".")[0] == "lab":
                    yield f"{package}/{place}:{line}: task_migration imports lab; it may not"
                continue
            other = room_of(dotted, package)
            if other != room and other not in ROOMS[package][room]:
                allowed = ", ".join(sorted(ROOMS[package][room] - {""})) or "no room"
                yield f"{package}/{place}:{line}: {room or package} imports {other or package}; it may import {allowed}"


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_every_folder_is_a_room_of_the_table(package):
    folders = {
        file.parent.relative_to(ROOT / "scripts" / package).parts[:1]
        for file in (ROOT / "scripts" / package).rglob("*.py")
    }
    assert {parts[0] if parts else "" for parts in folders} == ROOMS[package].keys()


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_imports_lead_only_where_the_table_allows(package):
    found = list(forbidden_imports(ROOT / "scripts" / package, package))
    assert not found, "\n".join(found)


def test_a_wrong_import_is_named_with_both_rooms(tmp_path):
    (tmp_path / "traffic").mkdir()
    (tmp_path / "traffic/stage.py").write_text("def read():\n    from task_migration.postgres import database\n")
    (told,) = forbidden_imports(tmp_path, "task_migration")
    assert told == "task_migration/traffic/stage.py:2: traffic imports postgres; it may import external"


def data_files_of(file, package):
    """The data files of this package that a module names, as "room/name.sql" or as files("package") / "room" / "name",
    each after its line."""
    ends = re.compile(r"(?:^|/)[\w.-]+\.(?:sql|yml|j2|cjs|pem|php)$")
    rooms = ROOMS[package].keys() - {""}
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        named = ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = node.value
        elif isinstance(node, ast.JoinedStr):
            named = "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            steps = [ast.unparse(step) for step in _divided(node)]
            if steps[0] in (f"files('{package}')", "sql_files.folder()"):
                named = "/".join(step.strip("'") for step in steps[1:])
        if ends.search(named) and named.split("/")[0] in rooms:
            found.add((node.lineno, named))
    return sorted(found)


def _divided(node):
    """The operands of a / b / c, from the left."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return [*_divided(node.left), node.right]
    return [node]


def forbidden_data_files(folder, package):
    """One line for each data file that a module reads from a room that it may not import."""
    for file in sorted(folder.rglob("*.py")):
        place = file.relative_to(folder)
        room = place.parts[0] if len(place.parts) > 1 else ""
        for line, path in data_files_of(file, package):
            other = path.split("/")[0]
            if other != room and other not in ROOMS[package][room]:
                yield f"{package}/{place}:{line}: {room or package} reads {path}; it may not import {other}"


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_a_module_reads_data_files_only_of_rooms_that_it_may_import(package):
    found = list(forbidden_data_files(ROOT / "scripts" / package, package))
    assert not found, "\n".join(found)


def test_a_data_file_of_a_wrong_room_is_named(tmp_path):
    (tmp_path / "sync").mkdir()
    (tmp_path / "sync/drain.py").write_text(
        "own = statement('sync/drain.sql', 'all')\n"
        "below = statement('control/journal.sql', 'now')\n"
        "upward = statement('report/sync_report.sql', 'dead letters')\n"
        "template = files('task_migration') / 'report' / 'page.j2'\n"
        "put_together = f'report/{name}.yml'\n"
    )
    assert list(forbidden_data_files(tmp_path, "task_migration")) == [
        "task_migration/sync/drain.py:3: sync reads report/sync_report.sql; it may not import report",
        "task_migration/sync/drain.py:4: sync reads report/page.j2; it may not import report",
        "task_migration/sync/drain.py:5: sync reads report/x.yml; it may not import report",
    ]


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_no_module_imports_itself_in_a_circle(package):
    files = {
        ".".join(file.relative_to(ROOT / "scripts").with_suffix("").parts): file
        for file in (ROOT / "scripts" / package).rglob("*.py")
    }
    order = TopologicalSorter()
    for name, file in files.items():
        leads = {part for dotted, _ in imports_of(file) for part in (dotted, dotted.rpartition(".")[0])}
        order.add(name, *(leads & files.keys()))
    try:
        order.prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))
