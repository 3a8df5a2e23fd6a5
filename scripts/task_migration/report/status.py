"""Prints how far the migration is: the checklist with its evidence, the state of each phase, and what to type next.

Its sessions are read-only, so it may be run at any time, during any other command, and before the first one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from task_migration import times
from task_migration.control import checklist, consistency_history, journal, migration_tests, run_log, schedule_gate
from task_migration.errors import Refused
from task_migration.external.aws import Aws
from task_migration.outcome import Outcome
from task_migration.postgres import database
from task_migration.report.migration_state import (
    LaravelState,
    MigrationState,
    TrafficShare,
    laravel_state,
    migration_state,
    sync_states,
    task_service_state,
    traffic_share,
)
from task_migration.report.next_step import next_step
from task_migration.traffic.stage import Gateway


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
    gateway: Gateway,
    aws: Aws,
    schedule_begins: str = "",
    laravel_timezone: str,
    canary_confidence_percent: float = 95,
) -> Outcome:
    """Shows the checklist of these phases, or of all, with the evidence for each item, and what to type next.

    The other parameters are the inventory's bounds, the ports at which the syncs report their health, and the stage
    that divides traffic. Details: ``phases`` with state and items, ``verdict``, ``change_log_length``,
    ``oldest_seconds``, ``switches``, ``consistency``, ``sync``, ``traffic``, ``fenced``, ``task_service``, ``running``,
    ``plans`` that wait for an approval or have not been started, ``journal``, ``next``. Raises Refused if Laravel's
    database cannot be reached or a phase does not exist.
    """
    known = [phase.phase for phase in checklist.phases()]
    if unknown := [phase for phase in phases or [] if phase not in known]:
        raise Refused("there is no such phase", measured=", ".join(unknown), allowed=", ".join(known))
    side = database.laravel(laravel_dsn)
    marks, unended = run_log.marks(report_directory), run_log.left_unended(report_directory)
    with database.translated_errors(side), database.read_only(side, "status") as connection:
        laravel = laravel_state(connection)
        broken = journal.broken(connection, marks)
        task_service = task_service_state(connection, task_service_dsn)
    tests = migration_tests.counted(report_directory)
    state = migration_state(
        laravel,
        task_service,
        tests,
        verdict_max_age_hours=verdict_max_age_hours,
        consistency_every_seconds=consistency_every_seconds,
        canary_confidence_percent=canary_confidence_percent,
    )
    syncs = sync_states(laravel.switches, sync_health_ports or {})
    traffic = None
    if gateway.gateway_rest_api_id:
        traffic = traffic_share(gateway, aws)
    kept = schedule_gate.kept(schedule_begins, state.in_effect, laravel_timezone, laravel.now)
    following = next_step(state)
    shown = phases or known
    items = [one for phase in shown for one in state.checked[phase]]
    message = (
        f"{'the journal is BROKEN; ' if broken else ''}"
        f"{', '.join(f'phase {phase}: {state.phases[phase].state}' for phase in shown)}; "
        f"{sum(one.done for one in items)} of {len(items)} items checked; next: {following.command or 'nothing'}"
    )
    lines = (
        *_first_lines(broken, unended, report_directory),
        *_phase_lines(shown, state, kept),
        *([f"Journal: {len(laravel.entries):,} entries, unbroken"] if laravel.entries and not broken else []),
        *_other_lines(state, report_directory),
        *_dual_write_lines(laravel, syncs, change_log_warn_entries),
        *_canary_lines(laravel, traffic),
        *(plan.state_line(laravel.now) for plan in state.plans),
        f"Next: {following}",
    )
    details = {
        "phases": [
            {
                "phase": phase,
                "state": state.phases[phase].state,
                "cause": state.phases[phase].cause or None,
                "schedule": kept[phase].as_dict() if phase in kept else None,
                "items": [one.as_dict() for one in state.checked[phase]],
            }
            for phase in shown
        ],
        "verdict": _verdict_details(state),
        "change_log_length": laravel.change_log_length,
        "oldest_seconds": laravel.oldest_seconds,
        "switches": {name: position.is_on for name, position in laravel.switches.items()},
        "consistency": _consistency_details(laravel.consistency),
        "sync": syncs,
        "traffic": {"share": traffic.share, "promoted": traffic.promoted} if traffic else None,
        "fenced": laravel.fenced_since is not None,
        "task_service": {"copied": task_service.copied, "trouble": task_service.trouble or None},
        "running": laravel.running or None,
        "migration_tests": len(tests),
        "plans": [
            {"phase": one.entry.phase, "digest": one.digest, "by": one.by, "approved_by": one.approvers(laravel.now)}
            for one in state.plans
        ],
        "journal": {
            "entries": len(laravel.entries),
            "broken": asdict(broken) if broken else None,
            "killed": unended.playbook if unended else None,
        },
        "next": {"command": following.command or None, "why": following.why},
    }
    return Outcome(False, message, details, lines)


def _first_lines(
    broken: journal.BrokenEntry | None, unended: run_log.Run | None, report_directory: str
) -> Iterable[str]:
    """Whether the journal can be trusted, and which command was left unfinished."""
    log = Path(report_directory) / run_log.FILE
    if broken:
        yield f"Journal: BROKEN at entry {broken.id}: {broken.why}; what the runs on this machine did: {log}"
    if unended:
        step = f" after the step: {unended.last_step}" if unended.last_step else ""
        started = times.when(unended.began)
        yield f"Last run: {unended.playbook}, started {started} by {unended.who}, was interrupted or killed{step}"


def _phase_lines(shown: list[str], state: MigrationState, kept: Mapping[str, schedule_gate.Kept]) -> Iterable[str]:
    for phase in checklist.phases():
        if phase.phase in shown:
            planned = f" [{kept[phase.phase]}]" if phase.phase in kept else ""
            yield f"Phase {phase.phase}, {phase.en} ({phase.ja}): {state.phases[phase.phase]}{planned}"
            for one in state.checked[phase.phase]:
                yield from one.lines()


def _other_lines(state: MigrationState, report_directory: str) -> Iterable[str]:
    laravel, task_service = state.laravel, state.task_service
    for rollback in checklist.rollbacks():
        found = checklist.state_of(rollback.phase, laravel.entries, laravel.running)
        if found.last is not None:
            trigger = found.last.evidence.get("trigger", "")
            automatic = f"; automatic, because of {trigger}" if trigger else ""
            yield f"Rollback {rollback.phase.removeprefix('rollback-')}: {found}{automatic}"
    if laravel.verdict is not None and laravel.verdict.passed:
        age = times.duration(laravel.now - laravel.verdict.at)
        yield f"Verdict: green, {age} old" + (f"; cannot be used: {state.stale}" if state.stale else "; fresh")
    else:
        reasons = "; ".join((laravel.verdict.summary.get("reasons") or []) if laravel.verdict else [])
        yield f"Verdict: {state.stale}" + (f": {reasons}" if reasons else "")
    length = laravel.change_log_length
    oldest = f", the oldest written {_seconds(laravel.oldest_seconds)} ago" if length and laravel.oldest_seconds else ""
    yield "Change log: " + ("none" if length is None else f"{length:,} to sync{oldest}")
    copied = "a complete copy" if task_service.copied else "no complete copy"
    content = "the only one that takes writes to tasks" if laravel.past_return else copied
    yield f"Task Service's database: {task_service.trouble or content}"
    if not laravel.entries and (exported := sorted(Path(report_directory).glob("journal-*.jsonl"))):
        yield f"An earlier attempt was rolled back; its journal: {exported[-1]}"


def _dual_write_lines(
    laravel: LaravelState, syncs: Mapping[str, Mapping[str, Any]], warn_entries: int
) -> Iterable[str]:
    """The switches, the syncs and the hourly check. Nothing before phase 2.3."""
    if (laravel.change_log_length or 0) > warn_entries:
        yield f"WARNING: the change log has more than {warn_entries:,} entries"
    for name, position in laravel.switches.items():
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
    if laravel.consistency is not None:
        check = laravel.consistency
        result = check.word if check.passed else f"{check.word}: {check.reasons}"
        yield f"Consistency: {result}, {_seconds(check.age_seconds)} ago, in {check.seconds:.1f} s"


def _canary_lines(laravel: LaravelState, traffic: TrafficShare | None) -> Iterable[str]:
    """The traffic and the fence. Nothing while no traffic can be moved."""
    if traffic is not None:
        yield f"Traffic: {traffic}"
        if traffic.share and not laravel.past_return:
            yield "Keep ansible-playbook watch.yml running: between two commands only the watch can roll back"
    if laravel.fenced_since is not None:
        yield f"Fence: active, Laravel writes no tasks since {laravel.fenced_since}"


def _seconds(seconds: float) -> str:
    return times.duration(timedelta(seconds=seconds))


def _consistency_details(check: consistency_history.Check | None) -> dict[str, Any] | None:
    if check is None:
        return None
    return {
        "passed": check.passed,
        "at": check.at.isoformat(),
        "age_seconds": round(check.age_seconds),
        "differences": check.differences,
    }


def _verdict_details(state: MigrationState) -> dict[str, Any] | None:
    verdict = state.laravel.verdict
    if verdict is None:
        return None
    return {
        "passed": verdict.passed,
        "at": verdict.at.isoformat(),
        "age_seconds": round((state.laravel.now - verdict.at).total_seconds()),
        "stale_because": state.stale,
    }
