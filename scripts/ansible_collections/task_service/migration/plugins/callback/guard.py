"""Ends a run that did nothing with an error."""

from __future__ import annotations

from typing import Any, NoReturn

from ansible import constants as C
from ansible import context
from ansible.executor.task_result import CallbackTaskResult
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: guard
type: notification
short_description: Ends with exit code 3 when nothing ran
description:
  - Ansible exits with 0 when C(--limit) or an inventory leaves no host. This exits with 3 and says why.
  - Refuses options that would skip a gate before anything runs,
    C(--tags), C(--skip-tags) and C(--start-at-task).
requirements:
  - Enabled with callbacks_enabled in ansible.cfg.
"""

OURS = "task_service.migration."
NOTHING_RAN = 3


class CallbackModule(CallbackBase):
    """Counts the steps of this collection that ran."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "task_service.migration.guard"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._ran = 0

    def v2_playbook_on_start(self, playbook: Any) -> None:
        typed = {
            "--tags": tuple(context.CLIARGS.get("tags") or ()) not in ((), ("all",)),
            "--skip-tags": bool(context.CLIARGS.get("skip_tags")),
            "--start-at-task": bool(context.CLIARGS.get("start_at_task")),
        }
        for option in (option for option, given in typed.items() if given):
            self._end(
                f"Refused, nothing was changed: {option} would skip the checks at the beginning of the playbook; "
                f"next: type the command without {option}, what is already done is skipped anyway"
            )

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        self._count(result)

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        self._count(result)

    def _count(self, result: CallbackTaskResult) -> None:
        self._ran += result.task.action.startswith(OURS)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if not self._ran and not stats.failures and not stats.dark:
            self._end(
                "Failed: nothing ran, because no host of the inventory matched or no step was left to do; "
                "next: look at -i and --limit"
            )

    def _end(self, why: str) -> NoReturn:
        self._display.display(why, color=C.COLOR_ERROR)
        raise SystemExit(NOTHING_RAN)
