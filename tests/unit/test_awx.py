"""What AWX is told of the playbooks: the same as the playbooks and parameters.yml say, in the form that AWX takes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from awx.__main__ import ENVIRONMENTS, FOLDER, text_of
from awx.assets import assets
from awx.playbook import playbooks
from awx.survey import ALSO_ASKED, CONFIRMED, survey
from task_migration.check_inputs import FOREIGN_PREFIXES
from task_migration.parameters import OF_THE_LAB, Parameter, parameters

PROJECT = Path(__file__).parents[2]
PLAYBOOKS = list(playbooks())
SURVEYS = {one.name: survey(one, is_named=True)["spec"] for one in PLAYBOOKS}
QUESTIONS = [(playbook, question) for playbook, spec in SURVEYS.items() for question in spec]
STATUS = next(one for one in PLAYBOOKS if one.name == "status")
# Who goes home is not asked for the environment's name, and neither is who looks.
UNNAMED = {"rollback-2.3", "rollback-2.4", "watch"}
TEMPLATES = assets("production")["job_templates"]
# What AWX takes for a default of each type; the same types are all that it knows (JobTemplateSurveySpec in its API).
DEFAULTS = {
    "text": str,
    "textarea": str,
    "password": str,
    "multiplechoice": str,
    "multiselect": str,
    "integer": int,
    "float": float,
}


def ids(one):
    return one if isinstance(one, str) else one["variable"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_committed_files_say_what_the_playbooks_say(environment):
    committed = (FOLDER / f"{environment}.json").read_text(encoding="utf-8")
    assert committed == text_of(environment), "python -m awx writes extensions/awx anew"


def test_there_is_a_template_for_each_playbook_outside_of_the_lab():
    files = {f"playbooks/{file.name}" for file in (PROJECT / "playbooks").glob("*.yml") if file.stem not in OF_THE_LAB}
    assert {one["playbook"] for one in TEMPLATES} == files
    assert len(TEMPLATES) == len(files)


def test_the_lab_is_not_for_awx():
    assert set(ENVIRONMENTS) == {folder.name for folder in (PROJECT / "inventories").iterdir() if folder.is_dir()} - {
        "local"
    }


# Surveys


@pytest.mark.parametrize(("playbook", "question"), QUESTIONS, ids=ids)
def test_every_question_has_awxs_form(playbook, question):
    texts = [question[name] for name in ("question_name", "variable", "question_description")]
    assert all(isinstance(text, str) and text for text in texts)
    assert isinstance(question["required"], bool)
    assert question["type"] in DEFAULTS
    assert all(type(question[bound]) is int for bound in ("min", "max") if bound in question)
    if question["type"] == "multiplechoice":
        assert all(isinstance(choice, str) and choice for choice in question["choices"])
        assert question.get("default", question["choices"][0]) in question["choices"]
    if "default" in question:
        assert type(question["default"]) is DEFAULTS[question["type"]]


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda one: one.name)
def test_a_playbook_is_asked_for_its_own_parameters_and_no_others(playbook):
    declared = parameters()
    asked = [question["variable"] for question in SURVEYS[playbook.name]]
    own = {name for name, one in declared.items() if playbook.name in one.only}
    own -= {CONFIRMED} if playbook.name in UNNAMED else set()
    assert len(asked) == len(set(asked))
    assert set(asked) == own | set(ALSO_ASKED.get(playbook.name, ()))


@pytest.mark.parametrize(("playbook", "question"), QUESTIONS, ids=ids)
def test_whatever_may_be_answered_is_taken_by_the_playbook(playbook, question):
    parameter = parameters()[question["variable"]]
    answers = question.get("choices") or [question[name] for name in ("min", "max") if name in question]
    if question["type"] == "text":
        answers = ["x" * length for length in answers]
    assert len(answers) > 1
    for answer in answers:
        assert parameter.takes(answer), answer
    assert question["required"] == (playbook in parameter.needed or question["variable"] == CONFIRMED)


def test_what_has_to_be_answered_is_asked_first():
    for spec in SURVEYS.values():
        required = [question["required"] for question in spec]
        assert required == sorted(required, reverse=True)


def test_a_text_that_is_left_blank_is_not_handed_on():
    """AWX hands on a default of a length that it allows, also none; the playbook refuses an empty reason."""
    for _, question in QUESTIONS:
        assert question["type"] != "text" or question["min"] > 0 or parameters()[question["variable"]].takes("")


def test_bounds_between_whole_numbers_are_left_to_the_playbook(monkeypatch):
    odd = Parameter("odd", "float", "an odd one", minimum=0.5, maximum=3, only=("status",))
    monkeypatch.setattr("awx.survey.parameters", lambda: {"odd": odd})
    (question,) = survey(replace(STATUS, defaults={"odd": 1}), is_named=True)["spec"]
    assert (question.get("min"), question["max"], question["default"]) == (None, 3, 1.0)


@pytest.mark.parametrize("kind", ["dict", "list", "dsn"])
def test_what_no_survey_can_ask_for_is_not_passed_over(monkeypatch, kind):
    monkeypatch.setattr("awx.survey.parameters", lambda: {"x": Parameter("x", kind, "x", only=("status",))})
    with pytest.raises(ValueError, match="no survey can ask for x"):
        survey(STATUS, is_named=True)


def test_no_secret_is_asked_for():
    assert not [question for _, question in QUESTIONS if question["type"] == "password"]
    secret = ("dsn", "token", "password", "headers_file")
    assert not [question for _, question in QUESTIONS if any(word in question["variable"] for word in secret)]


# Templates


@pytest.mark.parametrize("name", ["break-glass", "rollback-2.3", "rollback-2.4"])
def test_a_way_back_is_one_click(name):
    (template,) = [one for one in TEMPLATES if one["playbook"] == f"playbooks/{name}.yml"]
    assert template["survey_enabled"] is False
    assert not [field for field, asked in template.items() if field.startswith("ask_") and asked]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda one: one["name"])
def test_whoever_launches_sets_nothing_that_is_not_asked(template):
    prompts = {field for field, asked in template.items() if field.startswith("ask_") and asked}
    assert prompts <= {"ask_job_type_on_launch"}
    assert template["allow_simultaneous"] is False
    assert template["survey_enabled"] is ("related" in template)


def test_whoever_writes_types_the_environments_name_where_the_inventory_asks_for_it():
    def asked(environment):
        return {
            one["playbook"].removeprefix("playbooks/").removesuffix(".yml")
            for one in assets(environment)["job_templates"]
            for question in one.get("related", {}).get("survey_spec", {"spec": []})["spec"]
            if question["variable"] == CONFIRMED
        }

    assert asked("staging") == set()
    assert asked("production") == {one.name for one in PLAYBOOKS if one.is_change} - UNNAMED


def test_no_guard_is_set_by_a_job():
    """What guards an environment stands in its inventory; the playbooks refuse it from anywhere else."""
    guards = {name for name, one in parameters().items() if one.typed}
    assert guards
    assert not [question for _, question in QUESTIONS if question["variable"] in guards]
    assert not [one for one in TEMPLATES if json.loads(one["extra_vars"]).keys() & guards]


def test_whoever_may_change_something_may_check_first():
    asked = {one["playbook"] for one in TEMPLATES if one["ask_job_type_on_launch"]}
    assert {f"playbooks/phase-2.{number}.yml" for number in ("1-prepare", "4-canary", "5-cleanup")} <= asked
    assert not {"playbooks/status.yml", "playbooks/report.yml"} & asked


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda one: one["name"])
def test_what_every_job_is_told_is_taken_by_the_playbooks(template):
    declared = parameters()
    for name, value in json.loads(template["extra_vars"]).items():
        assert name.startswith(FOREIGN_PREFIXES) or (not declared[name].only and declared[name].takes(value))


def test_the_inventory_finds_the_project_again():
    """AWX keeps the project at /runner/project, whatever the checkout is called."""
    for environment in ENVIRONMENTS:
        for one in assets(environment)["job_templates"]:
            folder = json.loads(one["extra_vars"])["inventory_dir"].removeprefix("/runner/project/")
            assert (PROJECT / folder / "hosts.yml").is_file()


# Workflows


def test_every_answer_of_a_workflow_is_one_of_the_survey():
    nodes = [
        one for flow in assets("production")["workflow_job_templates"] for one in flow["related"]["workflow_nodes"]
    ]
    surveys = {one["name"]: one.get("related", {}).get("survey_spec", {"spec": []}) for one in TEMPLATES}
    for node in nodes:
        if node["unified_job_template"] is None:
            assert node["related"]["create_approval_template"]["timeout"] == 0
            continue
        questions = {one["variable"]: one for one in surveys[node["unified_job_template"]["name"]]["spec"]}
        assert node["extra_data"].keys() >= {name for name, one in questions.items() if one["required"]}
        for name, answer in node["extra_data"].items():
            assert parameters()[name].takes(answer)
            assert answer in questions[name].get("choices", [answer])


@pytest.mark.parametrize(("flow", "step"), [("canary", "weight-100"), ("cleanup", "cleanup")])
def test_what_takes_two_people_is_run_again_only_when_somebody_has_approved(flow, step):
    (found,) = [one for one in assets("production")["workflow_job_templates"] if one["name"] == f"production {flow}"]
    steps = {one["identifier"]: one for one in found["related"]["workflow_nodes"]}

    def after(name, how):
        return [one["identifier"] for one in steps[name]["related"].get(f"{how}_nodes", [])]

    assert (after(step, "failure"), after(step, "success"), after(step, "always")) == (["second-person"], [], [])
    assert after("second-person", "success") == [f"{step}-again"]
    again = steps[f"{step}-again"]
    assert (again["extra_data"], again["related"]) == (steps[step]["extra_data"], {})
    assert again["extra_data"][CONFIRMED] == "production"


def test_the_page_for_the_operator_names_what_there_is():
    page = (PROJECT / "docs/awx.md").read_text()
    asset = assets("production")
    there = {one["name"] for kind in ("job_templates", "workflow_job_templates") for one in asset[kind]}
    told = set(re.findall(r"`(production [\w.-]+)`", page))
    assert told >= {one["name"] for one in asset["workflow_job_templates"]}
    assert told <= there
