"""Writes each run of a playbook to runs.jsonl, so that a run that was interrupted or killed shows."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible import context
from ansible.executor.task_result import CallbackTaskResult
from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar
from ansible.utils.vars import load_extra_vars
from ansible_collections.task_service.migration.plugins.action.run_core import secrets_in
from task_migration.control.run_log import Recorder
from task_migration.external import masking

DOCUMENTATION = """
name: runs
type: notification
short_description: Writes each run and each of its steps as JSON lines
description:
  - Appends to C(runs.jsonl) in the inventory's C(report_directory) a line when a playbook begins, one for each step of
    this collection and for each failure, and one when the playbook ends. Passwords and tokens are left out.
  - If it cannot, it warns once, and the playbook continues.
requirements:
  - Enabled with callbacks_enabled in ansible.cfg, before guard, which may end the run.
"""

OURS = "task_service.migration."
COUNTED = ("ok", "changed", "failures", "skipped", "rescued", "unreachable")


class CallbackModule(CallbackBase):
    """Passes what Ansible reports to the recorder."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "task_service.migration.runs"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._playbook = ""
        self._recorder: Recorder | None = None
        self._gave_up = False
        self._secrets: set[str] = set()

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._playbook = Path(playbook._file_name).stem
        self._try(lambda: _take_name_from_awx(load_extra_vars(playbook._loader)))

    def v2_playbook_on_play_start(self, play: Any) -> None:
        if self._recorder is None:
            self._try(lambda: self._begin(play))

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        self._step(result, "changed" if result.is_changed() else "ok")

    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        self._step(result, "skipped")

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        self._step(result, "failed")

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        self._step(result, "failed")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if (recorder := self._recorder) is not None:
            counts = {name: sum(getattr(stats, "dark" if name == "unreachable" else name).values()) for name in COUNTED}
            result = "failed" if counts["failures"] or counts["unreachable"] else "ok"
            self._try(lambda: recorder.end(result, counts))

    def _begin(self, play: Any) -> None:
        """Finds the report directory in the play's variables. Without one, which is refused later, it does nothing."""
        manager, loader = play.get_variable_manager(), play.get_loader()
        hosts = manager._inventory.get_hosts(play.hosts)
        variables = manager.get_vars(play=play, host=hosts[0] if hosts else None)
        directory = Templar(loader, variables).template(variables.get("report_directory"))
        if not isinstance(directory, str) or not directory:
            return
        typed = load_extra_vars(loader)
        secrets = masking.secret_values(typed) | secrets_in(typed.values())
        self._secrets = secrets | {json.dumps(secret)[1:-1] for secret in secrets}
        command = masking.typed_command(remove_values(sys.argv, self._secrets))
        check = bool(context.CLIARGS.get("check"))
        self._recorder = Recorder(Path(directory), self._playbook, command=command, check=check)

    def _step(self, result: CallbackTaskResult, word: str) -> None:
        recorder = self._recorder
        ours = result.task.action.startswith(OURS)
        if recorder is None or not (ours or word == "failed"):
            return
        said = result.result
        self._try(
            lambda: recorder.step(
                self._playbook,
                task=str(result.task.name or result.task.action),
                module=result.task.action.removeprefix(OURS),
                result=word,
                check=bool(result.task.check_mode),
                message=remove_values(str(said.get("msg") or said.get("censored") or ""), self._secrets),
                details=remove_values(said.get("details") or {}, self._secrets),
            )
        )

    def _try(self, act: Callable[[], None]) -> None:
        """Runs ``act``. An error gives one warning and ends the recording, and never fails the playbook."""
        if self._gave_up:
            return
        try:
            act()
        except Exception as error:
            self._gave_up = True
            self._display.warning(f"this run is no longer recorded in runs.jsonl: {error}")


def _take_name_from_awx(variables: Mapping[str, Any]) -> None:
    """Sets LOGNAME to the user who launched the job: AWX runs every job as the same account.

    Set before the first step, so that every process of the run has it.
    """
    user = variables.get("awx_user_name")
    if user and "AWX_ISOLATED_DATA_DIR" in os.environ:
        os.environ["LOGNAME"] = str(user)
