"""The second person: who approves a plan is not who carries it out.

A plan is an entry of the journal, written by the operator's command that was refused for want of an approval; an
approval is another, by somebody else. What was shown, what was approved and what is done are held together by the
digest of the plan. Both entries go the way of all others when a rollback takes their phase back.
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
"""So many letters of a digest are shown, and are enough to type."""


@dataclass(frozen=True)
class Waiting:
    """A plan that was shown and not begun yet. ``approved`` are the entries that approve it, the newest last."""

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
        """What its operator types once it is approved."""
        return str(self.entry.evidence["command"])

    def approvers(self, now: datetime) -> list[str]:
        """Whose approvals are still good."""
        return sorted({str(one.evidence["approver"]) for one in self.approved if now < until(one)})

    def told(self, now: datetime) -> str:
        """How it stands, in one line."""
        title = f"Plan {self.digest[:SHORT]} of phase {self.entry.phase}, by {self.by}"
        if approvers := self.approvers(now):
            last = max(map(until, self.approved))
            return f"{title}: approved by {', '.join(approvers)}, until {times.when(last)}"
        return f"{title}: waits for an approval since {times.when(self.entry.at)}"


def approval(
    *,
    laravel_dsn: str,
    plan: str,
    approval_max_age_hours: float,
    aws_account_id: str = "",
    aws: Aws,
    check: bool = False,
) -> Outcome:
    """Shows the plan with this digest, and approves it for so many hours; again, it changes nothing.

    Check mode only shows it. Details: ``digest``, ``phase``, ``by`` (who planned), ``approver``, ``command``, what the
    operator types then. Raises Refused if no such plan waits, if a newer one of its phase does, if what the journal
    holds is not what the digest says, and to whoever planned it.
    """
    me = caller_identity.who(aws, aws_account_id)
    side = database.laravel(laravel_dsn)
    with database.translated_errors(side), database.read_only(side, "approval") as connection:
        now = journal.now(connection)
        found = _found(plan, waiting(checklist.standing(journal.entries(connection))))
    phase, acts = found.entry.phase, found.entry.evidence["acts"]
    title = f"plan {found.digest[:SHORT]} of phase {phase}, by {found.by}, {times.when(found.entry.at)}"
    if digest(phase, acts) != found.digest:
        raise Refused(
            "the plan in the journal is not the one that was shown",
            measured=f"its digest is {digest(phase, acts)[:SHORT]}",
            allowed=found.digest[:SHORT],
            next_step="ansible-playbook status.yml says whether the journal is whole",
        )
    if caller_identity.person(me) == caller_identity.person(found.by):
        raise Refused(
            "whoever planned it can't approve it",
            measured=f"planned by {found.by}; you are {me}",
            allowed="somebody else, by a login of her own",
            next_step=f"she types ansible-playbook approve.yml -e plan={found.digest[:SHORT]}",
        )
    lines = shown(acts, found.entry.evidence["beside"])
    details = {"digest": found.digest, "phase": phase, "by": found.by, "approver": me, "command": found.command}
    mine = [one for one in found.approved if one.evidence["approver"] == me]
    if any(now < until(one) for one in mine):
        return Outcome(False, f"{title}: approved by you already, until {times.when(until(mine[-1]))}", details, lines)
    if check:
        return Outcome(True, f"{title}: would be approved by {me}", details, lines)
    good_until = now + timedelta(hours=approval_max_age_hours)
    evidence = {"digest": found.digest, "planned_by": found.by, "approver": me, "until": good_until.isoformat()}
    journal.journal(laravel_dsn=laravel_dsn, phase=phase, item=APPROVAL, result="done", evidence=evidence)
    return Outcome(True, f"{title}: approved by {me}, until {times.when(good_until)}", details, lines)


def digest(phase: str, acts: Mapping[str, Any]) -> str:
    """Which plan it is: SHA-256, in hex, of what would be done."""
    text = json.dumps([phase, acts], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def waiting(standing: Sequence[JournalEntry]) -> list[Waiting]:
    """The newest plan of each phase, unless its phase was begun since; by the entries that count."""
    found = []
    for phase in dict.fromkeys(one.phase for one in standing):
        own = [one for one in standing if one.phase == phase]
        begun = max((one.id for one in own if one.item == "phase" and one.result == "started"), default=0)
        plans = [one for one in own if one.item == PLAN and one.id > begun]
        if plans:
            found.append(Waiting(plans[-1], tuple(_approving(own, plans[-1].evidence["digest"], begun))))
    return found


def until(entry: JournalEntry) -> datetime:
    """How long an approval is good."""
    return datetime.fromisoformat(entry.evidence["until"])


def shown(acts: Mapping[str, Any], beside: Mapping[str, Any]) -> tuple[str, ...]:
    """A plan for people: what would be done, and under it what was true when it was shown."""
    return (*_told(acts), *(f"beside: {said}" for _, said in sorted(beside.items())))


def _told(values: Mapping[str, Any], before: str = "") -> Iterable[str]:
    for name, value in sorted(values.items()):  # jsonb keeps no order
        words = f"{before}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _told(value, f"{words}, ")
        else:
            yield f"{words}: {_words(value)}"


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_words, value)) or "nothing"
    return f"{value:,}" if isinstance(value, int) else str(value) or "none"


def _approving(own: Iterable[JournalEntry], digest: str, begun: int) -> Iterable[JournalEntry]:
    """What approves this plan and was not used: the phase was not begun since."""
    return (
        one
        for one in own
        if one.item == APPROVAL and one.result == "done" and one.id > begun and one.evidence["digest"] == digest
    )


def _found(typed: str, known: Sequence[Waiting]) -> Waiting:
    """The plan whose digest begins so. Raises Refused if there is none."""
    found = [one for one in known if len(typed) >= SHORT and one.digest.startswith(typed)]
    if len(found) == 1:
        return found[0]
    there = ", ".join(f"{one.digest[:SHORT]} of phase {one.entry.phase}, by {one.by}" for one in known)
    raise Refused(
        "no such plan waits for an approval",
        measured=f"-e plan={typed}",
        allowed=there or "none waits: the operator's command shows one, or it was begun, or taken back",
        next_step="the digest stands where the operator's command ended; ansible-playbook status.yml names it too",
    )
