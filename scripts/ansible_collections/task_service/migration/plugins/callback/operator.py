"""What the operator sees: one line per step and one line per error; with -v Ansible's own view, whole."""

from __future__ import annotations

import sys
from typing import Any

from ansible import constants as C
from ansible.executor.task_result import CallbackTaskResult
from ansible.plugins.callback.default import CallbackModule as DefaultCallback

# Imported before any worker is forked: the kind of screen can be asked only here, and no step loads it again.
from ansible_collections.task_service.migration.plugins.plugin_utils import progress_line as progress_line
from task_migration import database as database

DOCUMENTATION = """
name: operator
type: stdout
short_description: One line per step of the migration
description:
  - Shows what each module of this collection says in one line, with its further lines under it.
  - Shows each error in one line.
  - With C(-v) and more it is Ansible's default view.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - Set as stdout_callback in ansible.cfg.
"""

OURS = "task_service.migration."


def one_line(text: object) -> str:
    return " ".join(str(text).split())


class CallbackModule(DefaultCallback):
    """Ansible's default view, said shorter while nobody asks for more."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "task_service.migration.operator"

    def __init__(self) -> None:
        super().__init__()
        if not progress_line.IN_TERMINAL and hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(line_buffering=True)  # a log is read while it is written

    @property
    def _short(self) -> bool:
        return int(self._display.verbosity) == 0

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        if not self._short:
            super().v2_playbook_on_task_start(task, is_conditional)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        if not self._short:
            super().v2_playbook_on_include(included_file)

    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        if not self._short:
            super().v2_runner_on_skipped(result)

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        if not self._short:
            super().v2_runner_on_ok(result)
            return
        self._handle_warnings(result.result)
        if result.task.action.startswith(OURS):
            changed = bool(result.result.get("changed"))
            word = ("would change" if result.task.check_mode else "changed") if changed else "ok"
            self._say(word, result, C.COLOR_CHANGED if changed else C.COLOR_OK)
        elif result.task.action in C._ACTION_DEBUG:
            self._display.display(one_line(result.result.get("msg", "")), color=C.COLOR_HIGHLIGHT)

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        if not self._short:
            super().v2_runner_on_failed(result, ignore_errors)
            return
        self._handle_warnings(result.result)
        self._say("failed", result, C.COLOR_ERROR)

    def _say(self, word: str, result: CallbackTaskResult, color: str) -> None:
        name = result.task.name or result.task.action
        self._display.display(f"{word}: {one_line(name)}: {one_line(result.result.get('msg', ''))}", color=color)
        for line in result.result.get("lines") or []:
            self._display.display(f"    {line}")
