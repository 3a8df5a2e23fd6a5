"""The workflows: playbooks in a sequence, with approvals where the plan requires them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

NaturalKey = dict[str, Any]


@dataclass(frozen=True)
class WorkflowStep:
    """One node: a playbook with its answers, or an approval with its ``question``.

    ``after`` is the condition for the next node: "success", "failure", or "always".
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
    steps: Sequence[WorkflowStep]


def _weight(percent: int) -> WorkflowStep:
    return WorkflowStep(f"weight-{percent}", "phase-2.4-canary", {"weight": str(percent)})


def _approval(percent: int) -> WorkflowStep:
    return WorkflowStep(f"approve-{percent}", question=f"Send {percent} % of the requests to the Task Service?")


def _two_people(step: WorkflowStep) -> tuple[WorkflowStep, ...]:
    """Returns the steps for a playbook that two people approve: the first run is refused and shows the plan.

    Other failures must not be approved.
    """
    question = f"Did {step.name} show a plan, and did a second person approve it with approve.yml? Then it runs again."
    return (
        replace(step, after="failure"),
        WorkflowStep("second-person", question=question),
        replace(step, name=f"{step.name}-again"),
    )


WORKFLOWS = (
    Workflow(
        "canary",
        "Phase 2.4, weight by weight: each is judged automatically, and the next one waits for an approval",
        (
            _weight(5),
            _approval(25),
            _weight(25),
            _approval(50),
            _weight(50),
            _approval(100),
            *_two_people(_weight(100)),
        ),
    ),
    Workflow(
        "cleanup",
        "Phase 2.5: the report, an approval, the plan, the second person's approval, the end; no rollback after it",
        (
            WorkflowStep("report", "report"),
            WorkflowStep("approve", question="Did you read the report? The migration ends, without a rollback."),
            *_two_people(WorkflowStep("cleanup", "phase-2.5-cleanup", {"approve": "true"})),
        ),
    ),
    Workflow(
        "all-traffic-to-laravel",
        "All traffic to Laravel at once through API Gateway alone, then the rollback of phase 2.4",
        (WorkflowStep("break-glass", "break-glass", after="always"), WorkflowStep("rollback", "rollback-2.4")),
    ),
)


def nodes(
    workflow: Workflow, key: NaturalKey, template: Mapping[str, NaturalKey], named: Mapping[str, Mapping[str, str]]
) -> list[dict[str, Any]]:
    """Returns the workflow's nodes in the format of awx import. ``key`` is the workflow's, ``template`` each
    playbook's.

    ``named`` has the answer for each playbook that asks for the environment's name, which the workflow's name contains.
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


def _key(workflow: NaturalKey, step: WorkflowStep) -> NaturalKey:
    return {"workflow_job_template": workflow, "identifier": step.name, "type": "workflow_job_template_node"}
