"""How far the migration is: the checklist with its evidence, the state of each phase, and the one command to type next.

Only looks: its sessions are read-only, so it may be run at any time, beside everything else, and on a database in
which nothing of ours is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from task_migration import sql_files, times
from task_migration.compare import consistency_report
from task_migration.control import (
    approval,
    checklist,
    consistency_history,
    journal,
    migration_tests,
    operator_lock,
    run_log,
    schedule_gate,
    sync_switch,
)
from task_migration.control.checklist import Checked, Evidence, PhaseState
from task_migration.errors import MigrationError, Refused
from task_migration.external import aws
from task_migration.outcome import Outcome
from task_migration.postgres import database, schema_drift
from task_migration.prepare import copy_ledger
from task_migration.runtime import health_endpoint
from task_migration.sync import change_log, fence
from task_migration.traffic import stage

SWITCHES: tuple[sync_switch.Name, ...] = ("sync_forward", "sync_backward")


@dataclass(frozen=True)
class LaravelState:
    """What Laravel's database tells. ``now`` is by its clock; ``holder`` is the playbook that holds the lock, or ""."""

    now: datetime
    entries: list[journal.JournalEntry]
    verdict: journal.Verdict | None
    change_log_length: int | None
    oldest_seconds: float | None
    switches: Mapping[str, sync_switch.Position]
    consistency: consistency_history.Check | None
    fenced_since: str | None
    holder: str
    holder_who: str

    @property
    def past_return(self) -> journal.JournalEntry | None:
        """The entry from which on there is no way back."""
        return checklist.past_return(checklist.standing(self.entries))

    @property
    def running(self) -> str:
        """The playbook at work now, "" if none is: a phase that has written down its end only asks for the status."""
        phase = checklist.phase_of(self.holder)
        ended = phase and checklist.state_of(phase, self.entries, self.holder).state != "running"
        return "" if ended else self.holder


@dataclass(frozen=True)
class TaskServiceState:
    """What the Task Service's database tells. ``trouble`` says why it tells nothing."""

    copied: bool = False
    schema_fingerprint: str | None = None
    trouble: str = ""


@dataclass(frozen=True)
class TrafficShare:
    """Where API Gateway sends the task routes: ``share`` is how many of a hundred requests go to the Task Service, None
    if ``trouble`` says why nobody knows. ``promoted``: without a canary."""

    share: float | None = None
    promoted: bool = False
    trouble: str = ""

    def __str__(self) -> str:
        if self.share is None:
            return f"unknown: {self.trouble}"
        how = ", promoted" if self.promoted else ""
        return f"{self.share:g} % to the Task Service{how}, read from API Gateway"


@dataclass(frozen=True)
class NextStep:
    """What to type next, and why. ``command`` is empty when nothing is left to type."""

    command: str
    why: str

    def __str__(self) -> str:
        return f"{self.command} ({self.why})" if self.command else self.why


def status(
    *,
    laravel_dsn: str,
    task_service_dsn: str,
    phases: list[str] | None = None,
    report_directory: str,
    verdict_max_age_hours: float = 24,
    consistency_every_seconds: int = 3600,
    change_log_warn_entries: int = 100_000,
    sync_health_ports: Mapping[str, int] | None = None,
    gateway_rest_api_id: str = "",
    gateway_stage: str = "",
    gateway_variable: str = "",
    laravel_upstream: str = "",
    task_service_upstream: str = "",
    aws_region: str,
    aws_endpoint_url: str = "",
    schedule_begins: str = "",
    laravel_timezone: str,
    canary_confidence_percent: float = 95,
) -> Outcome:
    """Shows the checklist of these phases, or of all, with what proves each item, and what to type next.

    The further parameters are the inventory's bounds, where the syncs tell of their health, and the stage that divides
    traffic. Details: ``phases`` with state and items, ``verdict``, ``change_log_length``, ``oldest_seconds``,
    ``switches``, ``consistency``, ``sync``, ``traffic``, ``fenced``, ``task_service``, ``running``, ``plans`` that
    wait for an approval or to be begun, ``journal``, ``next``. Raises Refused if Laravel's database can't be asked or
    there is no such phase.
    """
    known = [phase.phase for phase in checklist.phases()]
    if unknown := [phase for phase in phases or [] if phase not in known]:
        raise Refused("there is no such phase", measured=", ".join(unknown), allowed=", ".join(known))
    laravel = database.laravel(laravel_dsn)
    marks, unended = run_log.marks(report_directory), run_log.left_unended(report_directory)
    with database.translated_errors(laravel), database.read_only(laravel, "status") as connection:
        here = _ask_laravel(connection)
        broken = journal.broken(connection, marks)
        there = _ask_task_service(connection, task_service_dsn)
    tests = migration_tests.counted(report_directory)
    standing = checklist.standing(here.entries)
    evidence = Evidence(
        standing,
        here.verdict,
        tests,
        here.switches,
        here.consistency,
        2.0 * consistency_every_seconds,
        here.fenced_since is not None,
        canary_confidence_percent / 100,
    )
    syncs = _ask_syncs(here, sync_health_ports or {})
    traffic = None
    if gateway_rest_api_id:
        divided = {
            "gateway_rest_api_id": gateway_rest_api_id,
            "gateway_stage": gateway_stage,
            "gateway_variable": gateway_variable,
            "laravel_upstream": laravel_upstream,
            "task_service_upstream": task_service_upstream,
        }
        traffic = _ask_gateway(divided, aws_region, aws_endpoint_url)
    states = {phase: checklist.state_of(phase, standing, here.running) for phase in known}
    checked = {
        phase.phase: [checklist.check(phase, item, evidence) for item in phase.items] for phase in checklist.phases()
    }
    stale = journal.stale_because(here.verdict, here.now, verdict_max_age_hours, there.schema_fingerprint)
    kept = schedule_gate.kept(schedule_begins, standing, laravel_timezone, here.now)
    plans = approval.waiting(standing)
    following = _next(here, there, states, checked, stale, plans)
    shown = phases or known
    items = [one for phase in shown for one in checked[phase]]
    message = (
        f"{'the journal is BROKEN; ' if broken else ''}"
        f"{', '.join(f'phase {phase}: {states[phase].state}' for phase in shown)}; "
        f"{sum(one.done for one in items)} of {len(items)} items checked; next: {following.command or 'nothing'}"
    )
    lines = (
        *_first_lines(broken, unended, report_directory),
        *_phase_lines(shown, states, checked, kept),
        *([f"Journal: {len(here.entries):,} entries, unbroken"] if here.entries and not broken else []),
        *_other_lines(here, there, stale, report_directory),
        *_dual_write_lines(here, syncs, change_log_warn_entries),
        *_canary_lines(here, traffic),
        *(plan.told(here.now) for plan in plans),
        f"Next: {following}",
    )
    details = {
        "phases": [
            {
                "phase": phase,
                "state": states[phase].state,
                "cause": states[phase].cause or None,
                "schedule": kept[phase].as_dict() if phase in kept else None,
                "items": [one.as_dict() for one in checked[phase]],
            }
            for phase in shown
        ],
        "verdict": _verdict_details(here, stale),
        "change_log_length": here.change_log_length,
        "oldest_seconds": here.oldest_seconds,
        "switches": {name: position.is_on for name, position in here.switches.items()},
        "consistency": _consistency_details(here),
        "sync": syncs,
        "traffic": {"share": traffic.share, "promoted": traffic.promoted} if traffic else None,
        "fenced": here.fenced_since is not None,
        "task_service": {"copied": there.copied, "trouble": there.trouble or None},
        "running": here.running or None,
        "migration_tests": len(tests),
        "plans": [
            {"phase": one.entry.phase, "digest": one.digest, "by": one.by, "approved_by": one.approvers(here.now)}
            for one in plans
        ],
        "journal": {
            "entries": len(here.entries),
            "broken": asdict(broken) if broken else None,
            "killed": unended.playbook if unended else None,
        },
        "next": {"command": following.command or None, "why": following.why},
    }
    return Outcome(False, message, details, lines)


def _ask_laravel(connection: database.Connection) -> LaravelState:
    holders = connection.execute(
        sql_files.statement("control/operator_lock.sql", "holders"), {"which": operator_lock.OPERATOR}
    ).fetchall()
    there = change_log.exists(connection)
    length, oldest = change_log.stand(connection) if there else (None, None)
    held = holders[0][0].removeprefix("task_migration lock ").split() if holders else ["", ""]
    return LaravelState(
        now=journal.now(connection),
        entries=journal.entries(connection),
        verdict=journal.latest_verdict(connection),
        change_log_length=length,
        oldest_seconds=oldest,
        switches={name: sync_switch.position(connection, name) for name in SWITCHES},
        consistency=consistency_history.newest(connection),
        fenced_since=fence.standing_since(connection),
        holder=held[0],
        holder_who=held[-1],
    )


def _ask_task_service(laravel: database.Connection, dsn: str) -> TaskServiceState:
    if not dsn:
        return TaskServiceState(trouble="not made yet")
    side = database.task_service(dsn)
    try:
        with database.translated_errors(side), database.read_only(side, "status") as connection:
            copied = copy_ledger.finished_at(connection) is not None
            return TaskServiceState(copied, schema_drift.schema_fingerprint(laravel, connection) if copied else None)
    except MigrationError as error:
        return TaskServiceState(trouble=f"{error.what}: {error.measured}" if error.measured else error.what)


def _ask_syncs(here: LaravelState, ports: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """What the syncs that are on say of themselves, by direction, where this machine can ask them."""
    kept = ("state", "pending", "oldest_seconds", "lag_ms", "conflicts", "held_back", "last_error")
    found = {}
    for direction, port in ports.items():
        position = here.switches.get(f"sync_{direction}")
        if position is not None and position.is_on:
            said = health_endpoint.ask(int(port)) or {}
            found[direction] = {name: said[name] for name in kept if name in said} or {"state": "not reached"}
    return found


def _ask_gateway(divided: Mapping[str, str], aws_region: str, aws_endpoint_url: str) -> TrafficShare:
    """Where traffic goes; whoever only wants to know how things stand does not wait long for AWS."""
    try:
        where = stage.gateway(**divided)
        client = aws.client("apigateway", aws_region=aws_region, aws_endpoint_url=aws_endpoint_url, attempts=1)
        found = stage.read(client, where)
        stage.refuse_foreign(found)
    except MigrationError as error:
        return TrafficShare(trouble=f"{error.what}: {error.measured}" if error.measured else error.what)
    return TrafficShare(found.share, found.promoted)


def _next(
    here: LaravelState,
    there: TaskServiceState,
    states: Mapping[str, PhaseState],
    checked: Mapping[str, list[Checked]],
    stale: str | None,
    plans: Iterable[approval.Waiting],
) -> NextStep:
    if here.running:
        return NextStep("ansible-playbook status.yml", f"{here.running} is at work, by {here.holder_who}; look again")
    if past := here.past_return:
        (last,) = (phase for phase in checklist.phases() if phase.phase == past.phase)
        if states[last.phase].state != "done":
            return _begin_or_go_on(last, states[last.phase], last.command)
        return _open(checked[last.phase]) or NextStep("", "nothing is left to type: the migration has come to its end")
    for rollback in checklist.rollbacks():
        state = checklist.state_of(rollback.phase, here.entries)
        if state.state in ("interrupted", "failed") and all(states[one].last is None for one in rollback.takes_back):
            return NextStep(rollback.command, "the rollback did not come to its end")
    first, *others = checklist.phases()
    if states[first.phase].state != "done":
        return _begin_or_go_on(first, states[first.phase], first.command)
    if not there.copied:
        return NextStep(first.command, "the Task Service's database holds no complete copy")
    for phase in others:
        if states[phase.phase].state != "done":
            if stale and phase.phase != "2.2" and states["2.2"].state == "done":
                return _mend(here.verdict) or NextStep("ansible-playbook phase-2.2-verify.yml", stale)
            plan = next((one for one in plans if one.entry.phase == phase.phase), None)
            is_begun = plan is not None or states[phase.phase].state != "not started"
            if (phase.complete or phase is others[-1]) and not is_begun:
                before = [one for name, items in checked.items() if name < phase.phase for one in items]
                if left := _open(before):  # before the first user comes, or the last way back goes, all of it is proven
                    return left
            following = checklist.following(phase, checked[phase.phase])
            return (
                _mend(here.verdict) or _of_two(plan, here.now) or _begin_or_go_on(phase, states[phase.phase], following)
            )
    return _open(one for items in checked.values() for one in items) or NextStep("", "nothing is left to type")


def _of_two(plan: approval.Waiting | None, now: datetime) -> NextStep | None:
    """What comes next of a plan that takes two people."""
    if plan is None:
        return None
    if approvers := plan.approvers(now):
        return NextStep(plan.command, f"approved by {', '.join(approvers)}")
    approve = f"ansible-playbook approve.yml -e plan={plan.digest[: approval.SHORT]}"
    return NextStep(approve, f"by somebody else than {plan.by}, then {plan.command}")


def _open(items: Iterable[Checked]) -> NextStep | None:
    """The first item that nothing checks yet."""
    return next((NextStep(one.item.command, f"open: {one.item.en}") for one in items if not one.done), None)


def _begin_or_go_on(phase: checklist.Phase, state: PhaseState, command: str) -> NextStep:
    if state.state == "under way":
        return NextStep(command, f"the next step of phase {phase.phase}, {phase.en}")
    goes_on = state.state in ("interrupted", "failed")
    return NextStep(command, "it goes on where it stopped" if goes_on else f"begins phase {phase.phase}, {phase.en}")


def _mend(verdict: journal.Verdict | None) -> NextStep | None:
    """The first step after a red verdict."""
    if verdict is None or verdict.passed:
        return None
    steps = consistency_report.next_steps(verdict.summary)
    command = next(step["command"] for step in steps if step["command"])
    return NextStep(command, steps[0]["why"])


def _first_lines(broken: journal.Break | None, unended: run_log.Run | None, report_directory: str) -> Iterable[str]:
    """First of all: that what follows can't be believed, and what was left half done."""
    kept = Path(report_directory) / run_log.FILE
    if broken:
        yield f"Journal: BROKEN at entry {broken.id}: {broken.why}; what this machine's runs did at the time: {kept}"
    if unended:
        after = f" after: {unended.last_step}" if unended.last_step else ""
        began = times.when(unended.began)
        yield f"Last run: {unended.playbook}, begun {began} by {unended.who}, was interrupted or killed{after}"


def _phase_lines(
    shown: list[str],
    states: Mapping[str, PhaseState],
    checked: Mapping[str, list[Checked]],
    kept: Mapping[str, schedule_gate.Kept],
) -> Iterable[str]:
    for phase in checklist.phases():
        if phase.phase in shown:
            planned = f" [{kept[phase.phase]}]" if phase.phase in kept else ""
            yield f"Phase {phase.phase}, {phase.en} ({phase.ja}): {states[phase.phase]}{planned}"
            for one in checked[phase.phase]:
                yield from one.lines()


def _other_lines(
    here: LaravelState, there: TaskServiceState, stale: str | None, report_directory: str
) -> Iterable[str]:
    for rollback in checklist.rollbacks():
        state = checklist.state_of(rollback.phase, here.entries, here.running)
        if state.last is not None:
            trigger = state.last.evidence.get("trigger", "")
            by_itself = f"; by itself, because of {trigger}" if trigger else ""
            yield f"Rollback {rollback.phase.removeprefix('rollback-')}: {state}{by_itself}"
    if here.verdict is not None and here.verdict.passed:
        age = times.duration(here.now - here.verdict.at)
        yield f"Verdict: green, {age} old" + (f"; not to be leaned on: {stale}" if stale else "; fresh")
    else:
        reasons = "; ".join((here.verdict.summary.get("reasons") or []) if here.verdict else [])
        yield f"Verdict: {stale}" + (f": {reasons}" if reasons else "")
    length = here.change_log_length
    oldest = f", the oldest written {_seconds(here.oldest_seconds)} ago" if length and here.oldest_seconds else ""
    yield "Change log: " + ("there is none" if length is None else f"{length:,} to carry{oldest}")
    copied = "a complete copy" if there.copied else "no complete copy"
    held = "the only one that tasks are written to" if here.past_return else copied
    yield f"Task Service's database: {there.trouble or held}"
    if not here.entries and (kept := sorted(Path(report_directory).glob("journal-*.jsonl"))):
        yield f"An earlier attempt was taken back; its journal: {kept[-1]}"


def _dual_write_lines(here: LaravelState, syncs: Mapping[str, Mapping[str, Any]], warn_entries: int) -> Iterable[str]:
    """Nothing, before phase 2.3."""
    if (here.change_log_length or 0) > warn_entries:
        yield f"WARNING: the change log holds more than {warn_entries:,} entries"
    for name, position in here.switches.items():
        if position.changed_at is not None:
            reason = f" ({position.reason})" if position.reason else ""
            since = f"since {times.when(position.changed_at)}, by {position.changed_by}"
            yield f"Switch {name}: {position.word} {since}{reason}"
    for direction, sync in syncs.items():
        lag = (sync.get("lag_ms") or {}).get("p95")
        parts = [
            sync["state"],
            f"p95 {lag:.0f} ms" if lag is not None else "",
            f"{sync.get('held_back') or 0} held back",
        ]
        parts.append(f"{sync['conflicts']} conflicts" if sync.get("conflicts") else "")
        parts.append(f"last error: {sync['last_error']}" if sync.get("last_error") else "")
        yield f"Sync {direction}: {', '.join(filter(None, parts if len(sync) > 1 else parts[:1]))}"
    if here.consistency is not None:
        check = here.consistency
        said = check.word if check.passed else f"{check.word}: {check.reasons}"
        yield f"Consistency: {said}, {_seconds(check.age_seconds)} ago, in {check.seconds:.1f} s"


def _canary_lines(here: LaravelState, traffic: TrafficShare | None) -> Iterable[str]:
    """Nothing, while traffic can't be moved."""
    if traffic is not None:
        yield f"Traffic: {traffic}"
        if traffic.share and not here.past_return:
            yield "Keep ansible-playbook watch.yml running: it alone judges this between two commands"
    if here.fenced_since is not None:
        yield f"Fence: Laravel writes no task since {here.fenced_since}"


def _seconds(seconds: float) -> str:
    return times.duration(timedelta(seconds=seconds))


def _consistency_details(here: LaravelState) -> dict[str, Any] | None:
    if here.consistency is None:
        return None
    return {
        "passed": here.consistency.passed,
        "at": here.consistency.at.isoformat(),
        "age_seconds": round(here.consistency.age_seconds),
        "differences": here.consistency.differences,
    }


def _verdict_details(here: LaravelState, stale: str | None) -> dict[str, Any] | None:
    if here.verdict is None:
        return None
    return {
        "passed": here.verdict.passed,
        "at": here.verdict.at.isoformat(),
        "age_seconds": round((here.now - here.verdict.at).total_seconds()),
        "stale_because": stale,
    }
