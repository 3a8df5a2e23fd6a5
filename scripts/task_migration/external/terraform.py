"""Runs Terraform through python-terraform, which no other module uses.

python-terraform has not been maintained since 2019 and has no error handling, time limits or live output, so its one
method that runs commands is replaced below. Only its conversion of options is used. Commands run with ``-json``: one
line for each event, so that no text for people has to be parsed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import python_terraform
from python_terraform import IsFlagged

from task_migration import progress
from task_migration.errors import Failed, MigrationError, Refused

OLDEST = (1, 10)
TIME_LIMIT_SECONDS = 3600.0
LOCK_TIMEOUT = "20s"
GRACE_SECONDS = 60.0
"""How long Terraform may take to write its state after it was asked to stop."""
REPEAT_SECONDS = 5.0
"""How long it may take to report the interrupt before the signal is sent again."""
LAST_WORDS_SECONDS = 5.0
"""How long its output is read after it has ended."""


@dataclass(frozen=True)
class Plan:
    """A Terraform plan: ``actions`` by address ("create", "update", "replace", "delete"), and the plan's ``file``.
    ``empty`` is also False if only outputs would change."""

    empty: bool
    actions: Mapping[str, str]
    file: Path

    @property
    def destroyed(self) -> list[str]:
        """Addresses whose resource would be deleted or replaced."""
        return sorted(address for address, action in self.actions.items() if action in ("delete", "replace"))


@dataclass
class Terraform:
    """One Terraform environment, created by ``opened()``.

    ``directory`` is its root module, ``backend`` its backend's settings, ``data`` its TF_DATA_DIR, ``scratch`` a
    temporary folder of this run. Without ``touch`` nothing is written outside ``scratch``.
    """

    directory: Path
    backend: Mapping[str, Any]
    data: Path
    scratch: Path
    touch: bool
    listener: progress.Listener = progress.no_listener
    time_limit_seconds: float = TIME_LIMIT_SECONDS
    _runner: _Runner = field(init=False)

    def __post_init__(self) -> None:
        self._runner = _Runner(self)

    def init(self) -> None:
        """Runs ``terraform init``. In check mode no file is written to the project or beside the state."""
        options = {} if self.touch else {"lockfile": "readonly"}
        self._do("init", backend_config={key: str(value) for key, value in self.backend.items()}, **options)

    def modules(self) -> set[str]:
        """Returns the names of the modules that the environment calls; call it after ``init``."""
        try:
            listed = json.loads((self.data / "modules" / "modules.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return set()
        return {str(module["Key"]) for module in listed["Modules"]} - {""}

    def resources(self, target: str) -> list[str]:
        """Returns the addresses below ``target`` in the state. They, and not the outputs, show whether it exists."""
        code, out, errors = self._runner.run("state list")
        if code != 0:
            if "No state file was found" in errors:
                return []
            raise self._explained("state list", errors)
        inside = (f"{target}.", f"{target}[")
        return [line for line in out.split() if line.startswith(inside) and ".data." not in line]

    def plan(self, target: str = "", *, destroy: bool = False) -> Plan:
        """Returns the plan, with ``destroy`` the plan to destroy; changes nothing."""
        file = self.scratch / "plan"
        lock = {"lock_timeout": LOCK_TIMEOUT} if self.touch else {"lock": False}
        options = {**self._values, **self._targets(target), **lock, **({"destroy": IsFlagged} if destroy else {})}
        code, events = self._do("plan", out=str(file), **options)
        actions = {
            event["change"]["resource"]["addr"]: event["change"]["action"]
            for event in events
            if event.get("type") == "planned_change" and event["change"]["action"] not in ("noop", "read")
        }
        return Plan(code == 0, actions, file)

    def apply(self, plan: Plan) -> None:
        """Applies exactly this plan."""
        self._do("apply", plan.file, skip_plan=True, lock_timeout=LOCK_TIMEOUT)

    def destroy(self, target: str) -> None:
        """Destroys everything below ``target``, and what depends on it."""
        # python-terraform would pass "force", which Terraform no longer accepts.
        self._do(
            "destroy",
            force=None,
            auto_approve=IsFlagged,
            lock_timeout=LOCK_TIMEOUT,
            **self._values,
            **self._targets(target),
        )

    def outputs(self) -> dict[str, Any]:
        """Returns the environment's outputs by name, without sensitive ones."""
        code, out, errors = self._runner.run("output", json=IsFlagged)
        if code != 0:
            raise self._explained("output", errors)
        return {name: one["value"] for name, one in json.loads(out or "{}").items() if not one["sensitive"]}

    @property
    def command(self) -> str:
        """Returns the command line for this environment, up to Terraform's subcommand."""
        usual = self.data in (self.directory / ".terraform", Path(os.environ.get("TF_DATA_DIR", "")))
        return f"{'' if usual else f'TF_DATA_DIR={self.data} '}terraform -chdir={self.directory}"

    @property
    def _values(self) -> dict[str, str]:
        return {"var_file": str(self.scratch / "values.tfvars.json")}

    @staticmethod
    def _targets(target: str) -> dict[str, list[str]]:
        return {"target": [target] if target else []}

    def _do(self, verb: str, *arguments: object, **options: Any) -> tuple[int, list[dict[str, Any]]]:
        """Runs init, plan, apply or destroy; returns the exit code and the events. Raises if it failed."""
        call = getattr(self._runner.terraform, verb)
        options = {"input": False, "var": None, "json": IsFlagged, "no_color": None, **options}
        code, out, errors = call(*(str(argument) for argument in arguments), **options)
        events = list(events_of(out))
        # The exit code 2 of plan means that there are changes.
        if code not in ((0, 2) if verb == "plan" else (0,)):
            raise self._explained(verb, errors, events)
        return code, events

    def _explained(self, verb: str, errors: str, events: list[dict[str, Any]] | None = None) -> MigrationError:
        found = [event["diagnostic"] for event in events or [] if event.get("type") == "diagnostic"]
        found = [diagnostic for diagnostic in found if diagnostic.get("severity") == "error"]
        text = "; ".join(f"{diagnostic['summary']}: {diagnostic['detail']}" for diagnostic in found) or plain(errors)
        kind = Refused if verb in ("init", "plan", "state list", "output") else Failed
        if "Error acquiring the state lock" in text:
            return self._locked(text)
        return kind(
            f"terraform {verb} in {self.directory} failed",
            measured=shortened(text) or "no error message",
            next_step="fix the reported error, then run the same command again: it continues where it stopped",
        )

    def _locked(self, text: str) -> Refused:
        def of(name: str) -> str:
            found = re.search(rf"\b{name}:\s+(\S.*)", text)
            return found[1].strip() if found else "unknown"

        return Refused(
            f"the state of {self.directory} is locked",
            measured=f"by {of('Who')}, for {of('Operation')}, since {of('Created')}",
            next_step="wait until that run has finished; if it was killed: "
            f"{self.command} force-unlock {of('ID')}, then the same command again",
        )


@contextmanager
def opened(
    directory: Path,
    variables: Mapping[str, Any],
    backend: Mapping[str, Any],
    *,
    touch: bool,
    listener: progress.Listener = progress.no_listener,
) -> Iterator[Terraform]:
    """Yields an initialized Terraform environment. Without ``touch`` nothing is written outside a temporary folder.

    Raises Refused if there is no such environment, or if Terraform is missing or too old.
    """
    if not any(directory.glob("*.tf")):
        raise Refused(
            "terraform_directory is not a Terraform environment",
            measured=f"no *.tf file in {directory}",
            next_step="correct terraform_directory in the inventory",
        )
    refuse_missing_or_old()
    with tempfile.TemporaryDirectory(prefix="task-migration-terraform-") as scratch:
        # In a file, never on the command line, where every user of the machine could read the values.
        values = Path(scratch) / "values.tfvars.json"
        values.touch(mode=0o600)
        values.write_text(json.dumps(dict(variables)), encoding="utf-8")
        data = data_directory(directory, backend)
        if not touch:
            shared, data = data, Path(scratch) / "data"
            data.mkdir()
            if (shared / "providers").is_dir():
                (data / "providers").symlink_to(shared.resolve() / "providers")
        terraform = Terraform(directory, backend, data, Path(scratch), touch, listener)
        terraform.init()
        yield terraform


def data_directory(directory: Path, backend: Mapping[str, Any]) -> Path:
    """Returns TF_DATA_DIR. With a state in a local file it is beside that file, so that two labs share nothing and it
    is removed with the lab; otherwise it is Terraform's own choice."""
    if "path" in backend:
        return Path(str(backend["path"])).absolute().parent / "data"
    return Path(os.environ.get("TF_DATA_DIR") or directory / ".terraform")


def refuse_missing_or_old() -> None:
    """Raises Refused if Terraform is not installed or older than ``OLDEST``."""
    oldest = ".".join(map(str, OLDEST))
    install = f"install Terraform {oldest} or newer (https://developer.hashicorp.com/terraform/install)"
    if shutil.which("terraform") is None:
        raise Refused("Terraform is not installed", measured="no command terraform in PATH", next_step=install)
    answer = subprocess.run(
        ["terraform", "version", "-json"], capture_output=True, text=True, check=False, timeout=60, cwd="/"
    ).stdout
    try:
        version = str(json.loads(answer)["terraform_version"])
        number = tuple(int(part) for part in version.split(".")[:2])
    except (ValueError, KeyError, TypeError):
        raise Refused(
            "Terraform's version cannot be read", measured=shortened(answer) or "no output", next_step=install
        ) from None
    if number < OLDEST:
        raise Refused("Terraform is too old", measured=version, allowed=f"{oldest} or newer", next_step=install)


class _Runner:
    """Runs one command at a time, with live output and a time limit."""

    def __init__(self, owner: Terraform) -> None:
        self.owner = owner
        self.terraform = python_terraform.Terraform(working_dir=str(owner.directory))
        # The method of python-terraform that runs all of its commands.
        self.terraform.cmd = self.run

    def run(self, verb: str, *arguments: str, **options: Any) -> tuple[int, str, str]:
        """Returns exit code, stdout and stderr of ``terraform verb``. Raises Failed at the time limit."""
        command = self.terraform.generate_cmd_string(verb, *arguments, **options)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_CLI_ARGS")}
        environment |= {"TF_DATA_DIR": str(self.owner.data), "TF_IN_AUTOMATION": "1", "TF_INPUT": "0"}
        environment["TF_CLI_CONFIG_FILE"] = self._configuration_file()
        began = time.monotonic()
        heard = _Heard(verb, began, self.owner.listener)
        # Not used as a context manager: that would wait for every process that holds the pipes.
        process = subprocess.Popen(
            command,
            cwd=self.owner.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        out: list[str] = []
        errors: list[str] = []
        readers = [
            threading.Thread(target=_read, args=(process.stdout, out, heard.line), daemon=True),
            threading.Thread(target=_read, args=(process.stderr, errors, None), daemon=True),
        ]
        for reader in readers:
            reader.start()
        try:
            code = process.wait(self.owner.time_limit_seconds)
        except subprocess.TimeoutExpired:
            stop(process, heard.interrupted)
            raise Failed(
                f"terraform {verb} in {self.owner.directory} took too long and was stopped",
                measured=f"{time.monotonic() - began:.0f} s",
                allowed=f"{self.owner.time_limit_seconds:.0f} s",
                next_step="run the same command again: it continues where it stopped",
            ) from None
        except BaseException:
            stop(process, heard.interrupted)
            raise
        for reader in readers:
            # A program that local-exec left running may hold the pipe forever; Terraform's own output is complete.
            reader.join(LAST_WORDS_SECONDS)
        return code, "".join(out), "".join(errors)

    def _configuration_file(self) -> str:
        """Returns the operator's configuration file if there is one, else an empty file, to avoid a warning."""
        named = Path(os.environ.get("TF_CLI_CONFIG_FILE") or Path.home() / ".terraformrc")
        if named.is_file():
            return str(named)
        empty = self.owner.scratch / "terraform.rc"
        empty.touch()
        return str(empty)


class _Heard:
    """Converts Terraform's events into progress reports: resources done, of those planned."""

    def __init__(self, verb: str, began: float, listener: progress.Listener) -> None:
        self.verb = verb
        self.began = began
        self.listener = listener
        self.planned = 0
        self.done = 0
        self.interrupted = threading.Event()

    def line(self, line: str) -> None:
        for event in events_of(line):
            kind = str(event.get("type"))
            if "Interrupt received" in str(event.get("@message", "")) and kind == "log":
                self.interrupted.set()
            self.planned += kind == "planned_change"
            self.done += kind == "apply_complete"
            # The output of local-exec ("provision_progress") is not shown: it might contain a secret.
            if self.verb in ("apply", "destroy") and kind.startswith("apply_"):
                seconds = time.monotonic() - self.began
                note = shortened(str(event.get("@message", "")))
                doing = f"terraform {self.verb}"
                self.listener(progress.Progress(doing, self.done, self.planned, "resource", seconds, note))


def _read(stream: Any, into: list[str], hear: Any) -> None:
    with stream:
        for line in stream:
            into.append(line)
            if hear is not None:
                hear(line)


def stop(process: subprocess.Popen[str], heard: threading.Event) -> None:
    """Asks Terraform to stop, so that it writes and unlocks its state; kills it after ``GRACE_SECONDS``.

    SIGTERM, which Terraform handles as it handles SIGINT: a shell makes its background jobs ignore SIGINT, and every
    program that they start inherits that. A signal that arrives while a program starts can be lost, so it is sent
    again until Terraform reports the interrupt (``heard``). It is not sent after that, because a second signal makes
    Terraform abandon its state.
    """
    until = time.monotonic() + GRACE_SECONDS
    while (left := until - time.monotonic()) > 0:
        if not heard.is_set():
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(min(REPEAT_SECONDS, left))
        except subprocess.TimeoutExpired:
            continue
        return
    process.kill()
    process.wait()


def events_of(text: str) -> Iterator[dict[str, Any]]:
    """Yields the JSON lines of Terraform's output; even with -json a few lines are not JSON."""
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event


def plain(text: str) -> str:
    """Returns Terraform's text for people without its box and colours."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|[╷│╵]", " ", text).split())


def shortened(text: str, length: int = 600) -> str:
    text = plain(text)
    return text if len(text) <= length else f"{text[: length // 2]} ... {text[-length // 2 :]}"
