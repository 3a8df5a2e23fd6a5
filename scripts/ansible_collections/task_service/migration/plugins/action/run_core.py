"""Run the core function of a module: arguments in, progress out, result or error.

Every module of this collection is routed here (meta/runtime.yml). The module's file says what it takes and which
function of the core it means; this plugin reads both, so nothing is written twice and no module has code of its own.
A task names only what the inventory does not say: an option that it leaves out has the value of the inventory's key
of that name.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import fragment_loader, module_loader
from ansible.utils.display import Display
from ansible.utils.plugin_docs import get_plugin_docs
from ansible.utils.vars import load_extra_vars
from ansible_collections.task_service.migration.plugins.plugin_utils.progress_line import ProgressLine
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from task_migration.errors import Failed, MigrationError, Refused
from task_migration.mapping import mapping_directory
from task_migration.options import arguments_of
from task_migration.outcome import Outcome
from task_migration.parameters import parameters

# What a core function may ask for beside its module's options; this plugin provides it.
PROVIDED = frozenset({"check", "listener", "extra_vars", "variable"})
# Read once: a callback imports this in ansible-playbook's own process, before a worker is forked for each step.
INVENTORY_KEYS = frozenset(name for name, one in parameters().items() if not one.only)


def core_function(path: str) -> Callable[..., Outcome]:
    """Returns the function that a module names, such as "task_migration.sync.drain.drain"."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)  # type: ignore[no-any-return]


def argument_spec(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a module's documented options as the spec that Ansible validates with."""
    kept = ("type", "required", "default", "choices", "elements", "no_log")
    return {
        name: {key: option[key] for key in kept if key in option}
        | ({"options": argument_spec(option["suboptions"])} if "suboptions" in option else {})
        for name, option in options.items()
    }


def secrets_in(values: Iterable[object]) -> set[str]:
    """Returns the passwords in connection strings. They are never shown, although none should be there."""
    found = set()
    for value in values:
        if isinstance(value, str) and ("password" in value or "://" in value):
            try:
                found.add(str(conninfo_to_dict(value).get("password") or ""))
            except ProgrammingError:
                continue
    return found - {""}


class ActionModule(ActionBase):
    """Runs the core function that the task's module names."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        secrets: set[str] = set()
        screen = Display()
        spoken = ProgressLine(lambda text, newline: screen.display(text, newline=newline, screen_only=not newline))
        try:

            def variable(name: str) -> Any:
                return self._value_of(name, task_vars or {})

            options = self._validated(variable, secrets)
            verb = core_function(self._core_path())
            mapping_directory.choose(str(variable("mapping_directory") or ""))
            provided = {
                "check": self._task.check_mode,
                "listener": spoken,
                "extra_vars": dict(load_extra_vars(self._loader)),
                "variable": variable,
            }
            asked_for = provided.keys() & inspect.signature(verb).parameters.keys()
            outcome = verb(**arguments_of(verb, options), **{name: provided[name] for name in asked_for})
            result = {
                "changed": outcome.changed,
                "msg": outcome.message,
                "lines": list(outcome.lines),
                "details": outcome.details,
            }
        except MigrationError as error:
            result = {"failed": True, "msg": str(error), "refused": isinstance(error, Refused)}
        except Exception as error:
            result = {"failed": True, "msg": str(self._unknown(error)), "refused": False}
            screen.vvv(remove_values("".join(traceback.format_exception(error)), secrets))
        finally:
            spoken.close()
        return remove_values(result, secrets)  # type: ignore[no-any-return]

    def _value_of(self, name: str, variables: Mapping[str, Any]) -> Any:
        """Returns the value of a variable, None if there is none. Raises Refused if its template cannot be resolved."""
        try:
            return self._templar.template(variables.get(name))
        except AnsibleError as error:
            raise Refused(
                f"the value of {name} cannot be resolved",
                measured=str(error),
                next_step="correct it in the inventory's group_vars/all.yml",
            ) from error

    def _validated(self, variable: Callable[[str], Any], secrets: set[str]) -> dict[str, Any]:
        """Returns the arguments, checked and cast by the module's documentation; adds their secrets to ``secrets``.

        An option that the task does not name has the value of the inventory's key of that name, if there is one.
        """
        documentation = get_plugin_docs(self._task.resolved_action, "module", module_loader, fragment_loader, False)[0]
        left_out = documentation["options"].keys() & INVENTORY_KEYS - self._task.args.keys()
        found = {name: value for name in left_out if (value := variable(name)) is not None}
        arguments = {**found, **self._task.args}
        checked = ArgumentSpecValidator(argument_spec(documentation["options"])).validate(arguments)
        secrets |= {str(value) for value in checked._no_log_values} | secrets_in(arguments.values())
        if checked.error_messages:
            raise Refused(f"{self._task.action} was called wrongly", measured="; ".join(checked.error_messages))
        return dict(checked.validated_parameters)

    def _core_path(self) -> str:
        module = self._task.resolved_action.rpartition(".")[2]
        return str(import_module(f"ansible_collections.task_service.migration.plugins.modules.{module}").CORE_FUNCTION)

    def _unknown(self, error: Exception) -> Failed:
        return Failed(
            f"{self._task.action} met an error that it does not know",
            measured=f"{type(error).__name__}: {error}",
            next_step="run the same command again with -vvv to see where",
        )
