"""The soak: the Task Service has served every user alone for long enough, and Laravel wrote no task in that time.

The fence proves that Laravel wrote none: while it is active only the sync writes, and the database itself when a user
is deleted. So the gate reads since when it has been active, and whether it was disabled meanwhile.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from task_migration import sql_files, times
from task_migration.control import checklist, journal
from task_migration.errors import Refused
from task_migration.external.aws import Aws
from task_migration.outcome import Outcome
from task_migration.postgres import database
from task_migration.sync import change_log, fence
from task_migration.traffic import stage

PENDING_SECONDS = 60.0
"""Users write all the time; younger entries are being synced."""
_FILE = "canary/soak_gate.sql"
_CLEANUP = "ansible-playbook phase-2.5-cleanup.yml"
_START_AGAIN = (
    "ansible-playbook rollback-2.4.yml, then phase 2.4 again: both verify the two sides, and show what Laravel wrote"
)


def soak_gate(
    *,
    laravel_dsn: str,
    task_service_dsn: str,
    gateway: stage.Gateway,
    aws: Aws,
    soak_hours: float,
    check: bool = False,
) -> Outcome:
    """Refuses unless the stage has been promoted, and Laravel fenced, for ``soak_hours``; changes nothing.

    The soak starts with the promotion, or with the fence if that was set later. Details: ``since`` (ISO 8601),
    ``hours``, ``promoted_at``, ``fenced_since``, ``pending``, the entries on either change log. Raises Refused with
    what is missing.
    """
    stage.refuse_invalid(gateway)
    laravel, task_service = database.laravel(laravel_dsn), database.task_service(task_service_dsn)
    with database.translated_errors(laravel), database.connect(laravel, "soak") as here:
        promoted_at = _promoted_at(here)
        fenced_since = _fenced_since(here)
        now = datetime.fromtimestamp(change_log.clock(here), UTC)
        pending = {"laravel": _pending(here)}
    with database.translated_errors(task_service), database.connect(task_service, "soak") as there:
        pending["task_service"] = _pending(there)
    _refuse_unless_promoted(stage.read(aws.client("apigateway"), gateway))
    since = max(promoted_at, fenced_since)
    _refuse_too_short(since, now, soak_hours)
    return Outcome(
        False,
        f"soak: the Task Service has served alone for {times.duration(now - since)}, and Laravel wrote no task",
        {
            "since": since.isoformat(),
            "hours": round((now - since).total_seconds() / 3600, 2),
            "promoted_at": promoted_at.isoformat(),
            "fenced_since": fenced_since.isoformat(),
            "pending": pending,
        },
    )


def soak_seconds(laravel: database.Connection) -> float | None:
    """Returns for how long the Task Service has served alone with the fence active, by Laravel's database alone; None
    if it does not."""
    try:
        since = max(_fenced_since(laravel), _promoted_at(laravel))
    except Refused:
        return None
    return change_log.clock(laravel) - since.timestamp()


def _promoted_at(laravel: database.Connection) -> datetime:
    entries = [one for one in checklist.in_effect(journal.entries(laravel)) if one.phase == "2.4"]
    promotions = [one for one in entries if one.item == "promotion" and one.result == "done"]
    if not promotions:
        raise Refused(
            "the Task Service does not serve alone: it was not promoted, or the promotion was rolled back",
            next_step="ansible-playbook status.yml shows the state of phase 2.4",
        )
    return promotions[-1].at


def _fenced_since(laravel: database.Connection) -> datetime:
    since = fence.active_since(laravel)
    if since is None:
        raise Refused(
            "Laravel may write tasks: the fence is not active",
            measured=f"no active fence on {', '.join(fence.missing(laravel))}",
            allowed="the fence on every task table, as phase 2.4 created it",
            next_step=_START_AGAIN,
        )
    switched = [table for (table,) in laravel.execute(sql_files.statement(_FILE, "switched"))]
    if switched:
        raise Refused(
            "there is no proof that Laravel wrote no task: the fence was altered after phase 2.4 created it",
            measured=f"the triggers on {', '.join(switched)} were disabled and enabled again, or replaced by hand",
            allowed="the fence as phase 2.4 created it",
            next_step=_START_AGAIN,
        )
    return datetime.strptime(since, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)


def _pending(side: database.Connection) -> int:
    """Returns the number of entries on a side's change log. Raises Refused if the sync does not keep up."""
    length, oldest = change_log.backlog(side) if change_log.exists(side) else (0, None)
    if oldest is not None and oldest > PENDING_SECONDS:
        raise Refused(
            f"writes wait on the change log of {side.side.title}",
            measured=f"{length:,} entries, the oldest written {times.duration(timedelta(seconds=oldest))} ago",
            allowed=f"none older than {PENDING_SECONDS:g} s",
            next_step="ansible-playbook status.yml shows the state of the syncs",
        )
    return length


def _refuse_unless_promoted(found: stage.Stage) -> None:
    stage.refuse_foreign(found)
    if not found.promoted or found.canary is not None:
        raise Refused(
            "the Task Service does not serve every user",
            measured=found.summary,
            allowed="the promoted stage: the Task Service's value, and no canary",
            next_step="ansible-playbook phase-2.4-canary.yml -e weight=100",
        )


def _refuse_too_short(since: datetime, now: datetime, soak_hours: float) -> None:
    until = since + timedelta(hours=soak_hours)
    if now < until:
        raise Refused(
            "the Task Service has not served alone for long enough",
            measured=f"{times.duration(now - since)}, since {times.when(since)}",
            allowed=f"{soak_hours:g} h",
            next_step=f"leave watch.yml running until {times.when(until + timedelta(minutes=1))}, then {_CLEANUP}",
        )
