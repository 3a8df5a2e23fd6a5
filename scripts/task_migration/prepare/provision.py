"""Creates or destroys the Task Service's database with Terraform: ``module.task_service_rds`` of an environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from task_migration import progress
from task_migration.errors import Failed, Refused
from task_migration.external.terraform import Plan, Terraform, opened
from task_migration.outcome import Outcome

MODULE = "task_service_rds"
TARGET = f"module.{MODULE}"
_TEMPORARY = re.compile(r"\.temporary(\[|$)")
"""Addresses of resources that exist only during the migration: they hold no data, and may be destroyed."""


def provision(
    *,
    terraform_directory: str,
    terraform_variables: Mapping[str, Any] | None = None,
    terraform_backend: Mapping[str, Any] | None = None,
    state: Literal["present", "absent"] = "present",
    allow_destroy: bool = False,
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Brings the database to ``state``; resources that exist already, incomplete or tainted, are brought up to date.

    ``terraform_variables`` are the environment's input variables, ``terraform_backend`` settings of its backend
    (``-backend-config``). Destroying or replacing a resource is refused without ``allow_destroy``, except for resources
    named ``temporary``.
    ``details``: ``outputs`` (empty if there is no database), ``actions`` by address ("create", "update", "replace",
    "delete"). Raises Refused or Failed with Terraform's error.
    """
    if state == "absent" and not allow_destroy:
        raise Refused(
            "the Task Service's database must not be destroyed in this environment",
            measured="allow_destroy=false in the inventory",
            allowed="only with allow_destroy=true, which production never has",
        )
    directory = Path(terraform_directory).absolute()
    with opened(
        directory, terraform_variables or {}, terraform_backend or {}, touch=not check, listener=listener
    ) as terraform:
        if MODULE not in terraform.modules():
            raise Refused(
                f"the Terraform environment {directory} does not contain the Task Service's database",
                measured=f"no module {MODULE}; modules there: {', '.join(sorted(terraform.modules())) or 'none'}",
                next_step="correct terraform_directory in the inventory",
            )
        if state == "absent":
            return _absent(terraform, check)
        return _present(terraform, allow_destroy, check)


def _present(terraform: Terraform, allow_destroy: bool, check: bool) -> Outcome:
    whole = terraform.plan()
    if not allow_destroy:
        _refuse_destruction(whole)
    if whole.empty:
        return _outcome(False, "the Task Service's database exists already", terraform.outputs(), whole)
    if check:
        return _outcome(
            True, f"would {_summary(whole, {})}", terraform.outputs() if terraform.resources(TARGET) else {}, whole
        )
    if any(address.startswith((f"{TARGET}.", f"{TARGET}[")) for address in whole.actions):
        terraform.apply(terraform.plan(TARGET))
    # -target applies only the target: dependent resources and outputs come with the second plan.
    rest = terraform.plan()
    if not rest.empty:
        if not allow_destroy:
            _refuse_destruction(rest)
        terraform.apply(rest)
    if not terraform.resources(TARGET):
        raise Failed(
            "Terraform succeeded, but the Task Service's database is not in its state",
            measured=f"state list shows nothing below {TARGET}",
            next_step=f"{terraform.command} plan",
        )
    return _outcome(True, _summary(whole, DONE), terraform.outputs(), whole)


def _absent(terraform: Terraform, check: bool) -> Outcome:
    if not terraform.resources(TARGET):
        return _outcome(False, "the Task Service's database does not exist", {}, Plan(True, {}, Path()))
    # A resource with prevent_destroy is refused here, before anything is changed.
    gone = terraform.plan(TARGET, destroy=True)
    if check:
        return _outcome(True, f"would {_summary(gone, {'delete': 'destroy'})}", {}, gone)
    terraform.destroy(TARGET)
    if left := terraform.resources(TARGET):
        raise Failed(
            "Terraform succeeded, but the Task Service's database is still in its state",
            measured=", ".join(left),
            next_step="run the same command again",
        )
    return _outcome(True, _summary(gone, DONE), {}, gone)


def _refuse_destruction(plan: Plan) -> None:
    """Raises Refused if a resource would be destroyed, such as a tainted or renamed database."""
    if doomed := [address for address in plan.destroyed if not _TEMPORARY.search(address)]:
        raise Refused(
            "Terraform would destroy resources, which this environment does not allow",
            measured=", ".join(f"{address} ({plan.actions[address]})" for address in doomed),
            allowed="no destroyed resource, because allow_destroy is false in the inventory",
            next_step="check terraform plan; for a resource that is tainted but intact: terraform untaint ADDRESS",
        )


DONE = {"create": "created", "update": "updated", "replace": "replaced", "delete": "destroyed", "move": "moved"}


def _summary(plan: Plan, words: Mapping[str, str]) -> str:
    """Returns the plan in a few words: "created module.task_service_rds.terraform_data.this"."""
    if not plan.actions:
        return f"{words.get('update', 'update')} only its outputs"
    by_action: dict[str, list[str]] = {}
    for address, action in plan.actions.items():
        by_action.setdefault(action, []).append(address)
    few = len(plan.actions) <= 3
    return ", ".join(
        f"{words.get(action, action)} {', '.join(addresses) if few else f'{len(addresses)} resources'}"
        for action, addresses in sorted(by_action.items())
    )


def _outcome(changed: bool, message: str, outputs: dict[str, Any], plan: Plan) -> Outcome:
    where = f" at {outputs['address']}:{outputs.get('port')}" if changed and outputs.get("address") else ""
    return Outcome(changed, f"Terraform: {message}{where}", {"outputs": outputs, "actions": dict(plan.actions)})
