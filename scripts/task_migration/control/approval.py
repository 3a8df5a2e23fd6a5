"""Approvals by a second person: the operator who runs a plan cannot approve it.

A plan is a journal entry, written when the operator's command is refused because it has no approval. An approval is
another entry, by another person. The digest of the plan ensures that what was printed, what was approved and what is
done are the same. A rollback of the phase makes both entries void.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from task_migration import times
from task_migration.control import checklist, journal
from task_migration.control.journal import JournalEntry
from task_migration.errors import Refused
from task_migration.external import caller_identity
from task_migration.external.aws import Aws
from task_migration.outcome import Outcome
from task_migration.postgres import database

PLAN, APPROVAL = "plan", "approval"
"""The journal's items."""
SHORT = 12
"""How many characters of a digest are printed, and are enough to type."""


@dataclass(frozen=True)
class Waiting:
    """A plan that was printed and is not started yet. ``approved`` are the entries that approve it, the newest last."""

    entry: JournalEntry
    approved: tuple[JournalEntry, ...]

    @property
    def digest(self) -> str:
        return str(self.entry.evidence["digest"])

    @property
    def by(self) -> str:
        return str(self.entry.evidence["by"])

    @property
    def command(self) -> str:
        """Returns the command that its operator types once it is approved."""
        return str(self.entry.evidence["command"])

    def approvers(self, now: datetime) -> list[str]:
        """Returns who approved it, without expired approvals."""
        return sorted({str(one.evidence["approver"]) for one in self.approved if now < until(one)})

    def state_line(self, now: datetime) -> str:
        """Returns its state in one line."""
        title = f"Plan {self.digest[:SHORT]} of phase {self.entry.phase}, by {self.by}"
        if approvers := self.approvers(now):
            last = max(map(until, self.approved))
            return f"{title}: approved by {', '.join(approvers)}, until {times.when(last)}"
        return f"{title}: waiting for an approval since {times.when(self.entry.at)}"


def approval(
    *,
    laravel_dsn: str,
    plan: str,
    approval_max_age_hours: float,
    aws_account_id: str = "",
    aws: Aws,
    check: bool = False,
) -> Outcome:
    """Prints the plan with this digest, and approves it for ``approval_max_age_hours``. A second run changes nothing.

    Check mode only prints it. Details: ``digest``, ``phase``, ``by`` (who planned it), ``approver``, ``command`` (what
    the operator types next). Raises Refused if no such plan is waiting, if its phase has a newer plan, if the plan in
    the journal does not match the digest, and if the caller is the person who planned it.
    """
    me = caller_identity.who(aws, aws_account_id)
    side = database.laravel(laravel_dsn)
    with database.translated_errors(side), database.read_only(side, "approval") as connection:
        now = journal.now(connection)
        found = _found(plan, waiting(checklist.in_effect(journal.entries(connection))))
    phase, acts = found.entry.phase, found.entry.evidence["acts"]
    title = f"plan {found.digest[:SHORT]} of phase {phase}, by {found.by}, {times.when(found.entry.at)}"
    if digest(phase, acts) != found.digest:
        raise Refused(
            "the plan in the journal is not the plan that was printed",
            measured=f"its digest is {digest(phase, acts)[:SHORT]}",
            allowed=found.digest[:SHORT],
            next_step="ansible-playbook status.yml shows whether the journal was altered",
        )
    if caller_identity.person(me) == caller_identity.person(found.by):
        raise Refused(
            "you cannot approve your own plan",
            measured=f"planned by {found.by}; you are {me}",
            allowed="another operator, with their own login",
            next_step=f"another operator types: ansible-playbook approve.yml -e plan={found.digest[:SHORT]}",
        )
    lines = plan_lines(acts, found.entry.evidence["beside"])
    details = {"digest": found.digest, "phase": phase, "by": found.by, "approver": me, "command": found.command}
    mine = [one for one in found.approved if one.evidence["approver"] == me]
    if any(now < until(one) for one in mine):
        return Outcome(False, f"{title}: you already approved it, until {times.when(until(mine[-1]))}", details, lines)
    if check:
        return Outcome(True, f"{title}: would be approved by {me}", details, lines)
    good_until = now + timedelta(hours=approval_max_age_hours)
    evidence = {"digest": found.digest, "planned_by": found.by, "approver": me, "until": good_until.isoformat()}
    journal.journal(laravel_dsn=laravel_dsn, phase=phase, item=APPROVAL, result="done", evidence=evidence)
    return Outcome(True, f"{title}: approved by {me}, until {times.when(good_until)}", details, lines)


def digest(phase: str, acts: Mapping[str, Any]) -> str:
    """Returns the digest of a plan: the SHA-256, in hex, of what would be done."""
    text = json.dumps([phase, acts], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def waiting(in_effect: Sequence[JournalEntry]) -> list[Waiting]:
    """Returns the newest plan of each phase that has not started since, from the entries in effect."""
    found = []
    for phase in dict.fromkeys(one.phase for one in in_effect):
        own = [one for one in in_effect if one.phase == phase]
        begun = max((one.id for one in own if one.item == "phase" and one.result == "started"), default=0)
        plans = [one for one in own if one.item == PLAN and one.id > begun]
        if plans:
            found.append(Waiting(plans[-1], tuple(_approving(own, plans[-1].evidence["digest"], begun))))
    return found


def until(entry: JournalEntry) -> datetime:
    """Returns when an approval expires."""
    return datetime.fromisoformat(entry.evidence["until"])


def plan_lines(acts: Mapping[str, Any], beside: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns a plan as lines: what would be done, then what was true when it was printed."""
    return (*_value_lines(acts), *(f"for information: {text}" for _, text in sorted(beside.items())))


def _value_lines(values: Mapping[str, Any], before: str = "") -> Iterable[str]:
    for name, value in sorted(values.items()):  # jsonb keeps no order
        words = f"{before}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _value_lines(value, f"{words}, ")
        else:
            yield f"{words}: {_words(value)}"


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_words, value)) or "nothing"
    return f"{value:,}" if isinstance(value, int) else str(value) or "none"


def _approving(own: Iterable[JournalEntry], digest: str, begun: int) -> Iterable[JournalEntry]:
    """Returns the approvals of this plan that are not used: the phase has not started since."""
    return (
        one
        for one in own
        if one.item == APPROVAL and one.result == "done" and one.id > begun and one.evidence["digest"] == digest
    )


def _found(typed: str, known: Sequence[Waiting]) -> Waiting:
    """Returns the plan whose digest begins with ``typed``. Raises Refused if there is none."""
    found = [one for one in known if len(typed) >= SHORT and one.digest.startswith(typed)]
    if len(found) == 1:
        return found[0]
    there = ", ".join(f"{one.digest[:SHORT]} of phase {one.entry.phase}, by {one.by}" for one in known)
    raise Refused(
        "no plan with this digest is waiting for an approval",
        measured=f"-e plan={typed}",
        allowed=there or "no plan is waiting: none was printed yet, or it was started or rolled back since",
        next_step="ansible-playbook status.yml prints the digest, as the operator's command did",
    )
