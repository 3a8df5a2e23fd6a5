"""Playbooks one after the other, with somebody's word between them where the plan wants it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

Key = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One node: a playbook with its answers, or, without a playbook, a question that somebody has to approve.

    ``after`` says when the next one begins: "success", "failure", or "always".
    """

    name: str
    playbook: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)
    question: str = ""
    after: str = "success"


@dataclass(frozen=True)
class Workflow:
    name: str
    title: str
    steps: Sequence[Step]


def _weight(percent: int) -> Step:
    return Step(f"weight-{percent}", "phase-2.4-canary", {"weight": str(percent)})


def _approval(percent: int) -> Step:
    return Step(f"approve-{percent}", question=f"Send {percent} % of the requests to the Task Service?")


def _again(step: Step) -> tuple[Step, ...]:
    """What takes two people is refused the first time, with its plan. Whatever else failed is not to be approved."""
    question = f"Did {step.name} show a plan, and has somebody else approved it with approve.yml? Then it is run again."
    return (
        replace(step, after="failure"),
        Step("second-person", question=question),
        replace(step, name=f"{step.name}-again"),
    )


WORKFLOWS = (
    Workflow(
        "canary",
        "Phase 2.4, weight by weight: each one is judged by itself, and the next one waits for somebody's approval",
        (_weight(5), _approval(25), _weight(25), _approval(50), _weight(50), _approval(100), *_again(_weight(100))),
    ),
    Workflow(
        "cleanup",
        "Phase 2.5: the report, somebody's approval, the plan, the second person's, the end; no way back by data",
        (
            Step("report", "report"),
            Step("approve", question="Was the report read, and may the migration end without a way back?"),
            *_again(Step("cleanup", "phase-2.5-cleanup", {"approve": "true"})),
        ),
    ),
    Workflow(
        "everybody-home",
        "Every user to Laravel at once, by API Gateway alone, then every write that the Task Service took",
        (Step("break-glass", "break-glass", after="always"), Step("rollback", "rollback-2.4")),
    ),
)


def nodes(
    workflow: Workflow, key: Key, template: Mapping[str, Key], named: Mapping[str, Mapping[str, str]]
) -> list[dict[str, Any]]:
    """The workflow's nodes in the form of awx import. ``key`` is the workflow's, ``template`` each playbook's.

    ``named`` has, for each playbook that asks for the environment's name, the answer: the workflow's name bears it.
    """
    found = []
    for number, step in enumerate(workflow.steps):
        related: dict[str, Any] = {}
        if number + 1 < len(workflow.steps):
            related[f"{step.after}_nodes"] = [_key(key, workflow.steps[number + 1])]
        if step.question:
            related["create_approval_template"] = {"name": step.question, "description": "", "timeout": 0}
        found.append(
            {
                "identifier": step.name,
                "unified_job_template": template[step.playbook] if step.playbook else None,
                "extra_data": {**step.answers, **named.get(step.playbook, {})},
                "all_parents_must_converge": False,
                "related": related,
                "natural_key": _key(key, step),
            }
        )
    return found


def _key(workflow: Key, step: Step) -> Key:
    return {"workflow_job_template": workflow, "identifier": step.name, "type": "workflow_job_template_node"}
