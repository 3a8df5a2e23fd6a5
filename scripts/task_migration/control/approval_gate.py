"""Requires a second person: prints what is about to be done, and refuses it until another operator has approved it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from task_migration import times
from task_migration.control import approval, checklist, journal
from task_migration.control.journal import JournalEntry
from task_migration.errors import Refused
from task_migration.external import caller_identity
from task_migration.external.aws import Aws
from task_migration.outcome import Outcome
from task_migration.postgres import database


def approval_gate(
    *,
    laravel_dsn: str,
    phase: str,
    command: str,
    acts: Mapping[str, Any],
    beside: Mapping[str, Any] | None = None,
    report: str = "",
    approvals_required: int,
    approval_max_age_hours: float,
    aws_account_id: str = "",
    aws: Aws,
    check: bool = False,
) -> Outcome:
    """Prints the plan with its digest, and refuses it without ``approvals_required`` approvals; check mode only prints.

    ``acts`` is what would be done; the digest is made of it. ``beside``, by name, describes the current situation, and
    ``report`` is a file to read: both may change every minute and are not in the digest. ``command`` is what the
    operator types. An approval is used once, by the next run that starts the phase. If that run is interrupted, the
    same plan continues with the same approval while it is valid. Details: ``digest``, and ``evidence`` for the phase's
    start. Raises Refused after writing the plan to the journal for the second person.
    """
    if not approvals_required:
        return Outcome(False, "plan: no approval is required", {"digest": "", "evidence": {}})
    digest = approval.digest(phase, acts)
    title = f"plan {digest[: approval.SHORT]} of phase {phase}"
    details = {"digest": digest, "evidence": {}}
    beside = {**(beside or {}), **_read(report)}
    lines = approval.plan_lines(acts, beside)
    me = caller_identity.who(aws, aws_account_id)
    side = database.laravel(laravel_dsn)
    with database.translated_errors(side), database.read_only(side, "plan") as connection:
        now = journal.now(connection)
        in_effect = [one for one in checklist.in_effect(journal.entries(connection)) if one.phase == phase]
    begun = _cut_off(phase, in_effect, digest)
    if begun is not None and now - begun.at <= timedelta(hours=approval_max_age_hours):
        evidence = {name: begun.evidence[name] for name in ("plan", "approved_by")}
        message = f"{title}: continues, approved by {evidence['approved_by']}"
        return Outcome(False, message, {**details, "evidence": evidence}, lines if check else ())
    known = next((one for one in approval.waiting(in_effect) if one.digest == digest), None)
    good, why = _judged(known, me, now, approval_max_age_hours)
    if len(good) >= approvals_required:
        evidence = {"plan": digest, "approved_by": ", ".join(good)}
        message = f"{title}: approved by {evidence['approved_by']}"
        return Outcome(False, message, {**details, "evidence": evidence}, lines if check else ())
    counted = f"{len(good)} of {approvals_required} approvals{why}"
    if check:
        return Outcome(False, f"{title}: {counted}", details, lines)
    if known is None:
        evidence = {"digest": digest, "by": me, "command": command, "acts": dict(acts), "beside": beside}
        journal.journal(laravel_dsn=laravel_dsn, phase=phase, item=approval.PLAN, result="refused", evidence=evidence)
    raise Refused(
        f"a second person must approve the plan {digest[: approval.SHORT]} first",
        measured=counted,
        allowed=f"{approvals_required} by another operator than {me}, at most {approval_max_age_hours:g} h old",
        next_step=(
            f"another operator, with their own login, types: ansible-playbook approve.yml "
            f"-e plan={digest[: approval.SHORT]}, then you type: {command}"
        ),
    )


def _cut_off(phase: str, in_effect: Sequence[JournalEntry], digest: str) -> JournalEntry | None:
    """Returns the start of an interrupted run if it was a run of this approved plan; else None."""
    state = checklist.state_of(phase, in_effect)
    if state.state == "interrupted" and state.last is not None and state.last.evidence.get("plan") == digest:
        return state.last
    return None


def _judged(known: approval.Waiting | None, me: str, now: datetime, max_age_hours: float) -> tuple[list[str], str]:
    """Returns the approvers that count, and why others do not count ("" if there are none)."""
    good: list[str] = []
    why = []
    for one in known.approved if known else ():
        who, age = str(one.evidence["approver"]), now - one.at
        if caller_identity.person(who) == caller_identity.person(me):
            why.append(f"{who} is you")
        elif known is not None and caller_identity.person(who) == caller_identity.person(known.by):
            why.append(f"{who} planned it")
        elif age > timedelta(hours=max_age_hours):
            why.append(f"the approval of {who} is {times.duration(age)} old")
        elif who not in good:
            good.append(who)
    return good, f": {'; '.join(why)}" if why else ""


def _read(report: str) -> dict[str, str]:
    """Returns the report's path and SHA-256, as a line of the plan."""
    if not report:
        return {}
    try:
        with Path(report).open("rb") as file:
            return {"report": f"report: {report}, SHA-256 {hashlib.file_digest(file, 'sha256').hexdigest()}"}
    except OSError as error:
        return {"report": f"report: {report}: {error.strerror}"}
