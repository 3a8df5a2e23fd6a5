"""What the operator sees: numbered steps with their figures, one line per error, and what to type next on a line of its
own; with -v Ansible's own view, whole."""

from __future__ import annotations

import getpass
import re
import shutil
import socket
import sys
import textwrap
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from ansible import constants as C
from ansible import context
from ansible.executor.task_result import CallbackTaskResult
from ansible.plugins.callback.default import CallbackModule as DefaultCallback

# Imported before any worker is forked: only here it is known whether this is a terminal, and no step loads it again.
from ansible_collections.task_service.migration.plugins.plugin_utils import progress_line

DOCUMENTATION = """
name: operator
type: stdout
short_description: Reads like a runbook
description:
  - Numbers the steps of this collection as they run, with the message of each, and how long it took if that was a
    second or more.
  - Shows each error in one line.
  - Ends with how it went, and the command to type next on a line of its own.
  - With C(-v) and more it is Ansible's default output.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - Set as stdout_callback in ansible.cfg.
"""

OURS = "task_service.migration."
INDENT = " " * 5
SHOWN_SECONDS = 1.0
_NEXT = "Next: "
_OF_ERROR = re.compile(r"\b(?:next|then): (?P<next>.+?)(?:; | \(allowed: |$)")
_COMMAND = re.compile(
    r"(?P<command>ansible-playbook(?: -i \S+)? [\w./-]+\.yml(?: -e (?:'[^']*'|[^\s,]+))*+),?"
    r"(?: (?P<why>[^(].*?))?(?:, ansible-playbook |$)"
)


def one_line(text: object) -> str:
    return " ".join(str(text).split())


def to_type(text: str) -> str:
    """Returns a line that can be copied: the first command in ``text``, and its explanation in brackets.

    Returns ``text`` itself if it has no command, or if words come before it, such as who is to type it.
    """
    found = _COMMAND.search(text)
    if not found or (found.start() > 0 and not text[: found.start()].endswith(", ")):
        return text
    return f"{found['command']} ({found['why']})" if found["why"] else text[found.start() :]


class CallbackModule(DefaultCallback):
    """Ansible's default output with -v; without it one that reads like a runbook."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "task_service.migration.operator"

    def __init__(self) -> None:
        super().__init__()
        if not progress_line.IN_TERMINAL and hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(line_buffering=True)  # a log is read while it is written
        self._began = self._step_began = time.monotonic()
        self._steps = self._changed = 0
        self._is_drawn = False
        self._next = ""
        self._last_error = ""

    @property
    def _short(self) -> bool:
        return int(self._display.verbosity) == 0

    def v2_playbook_on_play_start(self, play: Any) -> None:
        if not self._short:
            super().v2_playbook_on_play_start(play)
            return
        environment = _environment(play)
        where = environment.upper() if environment == "production" else environment
        who = f"{getpass.getuser()}@{socket.gethostname()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        self._print(f"\n{play.get_name()}", C.COLOR_HIGHLIGHT)
        self._print(
            ", ".join(filter(None, [where, who])), C.COLOR_WARN if environment == "production" else C.COLOR_VERBOSE
        )
        if context.CLIARGS.get("check"):
            self._print("--check: it looks and predicts, and changes nothing", C.COLOR_VERBOSE)
        self._print("")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        if not self._short:
            super().v2_playbook_on_task_start(task, is_conditional)
            return
        self._step_began = time.monotonic()
        if progress_line.IN_TERMINAL and task.action.startswith(OURS):
            self._draw(f"{self._steps + 1:>3}. {one_line(task.get_name())} ...")

    def v2_playbook_on_include(self, included_file: Any) -> None:
        if not self._short:
            super().v2_playbook_on_include(included_file)

    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        if not self._short:
            super().v2_runner_on_skipped(result)
        self._clear()

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        if not self._short:
            super().v2_runner_on_ok(result)
            return
        self._clear()
        self._handle_warnings(result.result)
        if result.task.action.startswith(OURS):
            self._step(result)
        elif result.task.action in C._ACTION_DEBUG:
            self._note(one_line(result.result.get("msg", "")))

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        if not self._short:
            super().v2_runner_on_failed(result, ignore_errors)
            return
        self._clear()
        self._handle_warnings(result.result)
        self._last_error = one_line(result.result.get("msg", ""))
        self._steps += result.task.action.startswith(OURS)
        number = f"{self._steps:>3}. " if result.task.action.startswith(OURS) else INDENT
        name = one_line(result.task.name or result.task.action)
        self._print(f"{number}failed: {name}: {self._last_error}", C.COLOR_ERROR, INDENT)
        for line in result.result.get("lines") or []:
            self._note(line, None)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if not self._short:
            super().v2_playbook_on_stats(stats)
            return
        self._clear()
        hosts = sorted(stats.processed)
        took = progress_line.clock(time.monotonic() - self._began)
        is_bad = any(stats.failures.get(host) or stats.dark.get(host) for host in hosts)
        self._print("")
        if is_bad and self._changed == 0 and "Refused, nothing was changed" in self._last_error:
            self._print(f"Refused at step {self._steps}, after {took}: nothing was changed.", C.COLOR_ERROR)
        elif is_bad:
            self._print(f"Stopped at step {self._steps}, after {took}.", C.COLOR_ERROR)
        else:
            word = "would change" if context.CLIARGS.get("check") else "changed"
            steps = f"{self._steps} step{'' if self._steps == 1 else 's'}"
            self._print(f"Done in {took}: {steps}, {self._changed or 'nothing'} {word}.", C.COLOR_OK)
        if is_bad and (found := _OF_ERROR.search(self._last_error)):
            self._next = to_type(found["next"])
        if self._next:
            self._print(f"{_NEXT}{self._next}", C.COLOR_HIGHLIGHT)
        for host in hosts:
            counts = stats.summarize(host)
            shown = " ".join(f"{name}={counts[name]}" for name in ("ok", "changed", "unreachable", "failures"))
            self._print(f"{host} : {shown.replace('failures', 'failed')}", C.COLOR_VERBOSE)

    def _step(self, result: CallbackTaskResult) -> None:
        changed = bool(result.result.get("changed"))
        self._steps += 1
        self._changed += changed
        word = ("would change" if result.task.check_mode else "changed") if changed else "ok"
        seconds = time.monotonic() - self._step_began
        took = f" ({progress_line.clock(seconds)})" if seconds >= SHOWN_SECONDS else ""
        name = one_line(result.task.name or result.task.action)
        self._print(f"{self._steps:>3}. {word}: {name}{took}", C.COLOR_CHANGED if changed else C.COLOR_OK, INDENT)
        self._note(one_line(result.result.get("msg", "")), C.COLOR_OK if not changed else C.COLOR_CHANGED)
        for line in result.result.get("lines") or []:
            self._note(line, None)

    def _note(self, text: str, color: str | None = C.COLOR_HIGHLIGHT) -> None:
        """Prints a line under a step. What to type next is printed at the end."""
        before, found, following = text.rpartition(_NEXT)
        if found and (not before or before.endswith(". ")):
            text, self._next = before.rstrip(), to_type(following)
        if text:
            own = " " * (len(text) - len(text.lstrip()))
            self._print(f"{INDENT}{text}", color, f"{INDENT}{own}  ")

    def _print(self, text: str, color: str | None = None, hanging: str = "") -> None:
        """Prints one line; in a terminal it is wrapped between words, with an indent."""
        if progress_line.IN_TERMINAL and hanging:
            width = max(40, shutil.get_terminal_size().columns - 1)
            text = "\n".join(textwrap.wrap(text, width, subsequent_indent=hanging, break_on_hyphens=False)) or text
        self._display.display(text, color=color)

    def _draw(self, text: str) -> None:
        """Shows the running step, until its result replaces it."""
        self._clear()
        self._display.display(f"\r{text[: shutil.get_terminal_size().columns - 1]}\x1b[K", newline=False)
        self._is_drawn = True

    def _clear(self) -> None:
        if self._is_drawn:
            self._display.display("\r\x1b[K", newline=False)
            self._is_drawn = False


def _environment(play: Any) -> str:
    """Returns the environment that the inventory describes, "" if it has none."""
    with suppress(Exception):  # the first step reports what an inventory lacks
        manager = play.get_variable_manager()
        host = manager._inventory.get_hosts(play.hosts)[0]
        return str(manager.get_vars(play=play, host=host).get("migration_environment", ""))
    return ""
