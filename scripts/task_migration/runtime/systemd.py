"""Services under systemd: hardened system units, rendered from the templates beside this module.

A change is made in the order stop, write, reload, start. If it is killed in between, the service remains stopped, so
that the next install sees that something is left to do.
"""

from __future__ import annotations

import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2

from task_migration.errors import Failed, Refused
from task_migration.external import atomic_file
from task_migration.runtime.service import RESTART_SECONDS, STOP_SECONDS, Service, package_folder

_DAY, _HOUR, _MINUTE = 86400, 3600, 60
_AS_ROOT = "run the same playbook as root"


@dataclass(frozen=True)
class Systemd:
    """``directory`` contains the units, ``systemctl`` is the program to call."""

    directory: Path = Path("/etc/systemd/system")
    systemctl: str = "systemctl"

    def install(self, service: Service) -> bool:
        """See ``ServiceHost``. Raises Refused if OnCalendar cannot express the period, Failed if systemctl fails."""
        units = units_of(service)
        if not self.would_change(service):
            return False
        for path in self._disable(service.name):
            if path.name not in units:
                _unlink(path)
        for folder in service.writes:
            with _on_disk(folder):
                folder.mkdir(parents=True, exist_ok=True)
        for name, text in units.items():
            self._write(self.directory / name, text)
        self._call("daemon-reload")
        self._call("enable", "--now", _enabled_unit(service))
        return True

    def remove(self, name: str) -> bool:
        """See ``ServiceHost``. Raises Failed if systemctl fails; the units remain then."""
        found = self._disable(name)
        for path in found:
            _unlink(path)
        if found:
            self._call("daemon-reload")
        return bool(found)

    def running(self, name: str) -> bool:
        """See ``ServiceHost``."""
        found = self._files(name)
        return bool(found) and self._succeeds("is-active", found[0].name)

    def installed(self, name: str) -> bool:
        """See ``ServiceHost``."""
        return bool(self._files(name))

    def would_change(self, service: Service) -> bool:
        """See ``ServiceHost``."""
        units = units_of(service)
        enabled = _enabled_unit(service)
        # Checked first: without systemctl, this raises before anything is written.
        runs = self._succeeds("is-active", enabled) and self._succeeds("is-enabled", enabled)
        as_wanted = {path.name for path in self._files(service.name)} == units.keys() and all(
            (self.directory / name).read_text(encoding="utf-8") == text for name, text in units.items()
        )
        return not (runs and as_wanted)

    def _disable(self, name: str) -> list[Path]:
        """Stops and disables the existing units, and returns them."""
        found = self._files(name)
        if found:
            self._call("disable", "--now", *(path.name for path in found))
        return found

    def _files(self, name: str) -> list[Path]:
        """Returns the existing units, the timer first: it must not start a service that is being stopped."""
        return [path for kind in ("timer", "service") if (path := self.directory / f"{name}.{kind}").exists()]

    def _write(self, path: Path, text: str) -> None:
        with _on_disk(path):
            atomic_file.write(path, text)
            path.chmod(0o644)

    def _succeeds(self, *arguments: str) -> bool:
        return self._run(*arguments).returncode == 0

    def _call(self, *arguments: str) -> None:
        done = self._run(*arguments)
        if done.returncode:
            raise Failed(
                f"systemctl {' '.join(arguments)} ended with exit code {done.returncode}",
                measured=done.stderr.strip(),
                next_step=f"systemctl status {arguments[-1]}" if len(arguments) > 1 else "journalctl -b",
            )

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [self.systemctl, "--no-ask-password", *arguments]
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=4 * STOP_SECONDS, check=False)
        except OSError as error:
            raise Refused(
                f"{self.systemctl} cannot be run on this machine",
                measured=error.strerror or str(error),
                allowed="a machine with systemd; service_kind process is for the lab",
                next_step="run the same playbook on a machine with systemd",
            ) from error
        except subprocess.TimeoutExpired as error:
            raise Failed(f"systemctl {' '.join(arguments)} did not answer within {4 * STOP_SECONDS} s") from error


def units_of(service: Service) -> dict[str, str]:
    """Returns the names and texts of the units: the service, and its timer if it is periodic."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"unit_text": _text, "unit_word": _word, "unit_argument": _argument}
    folder = files("task_migration") / "runtime"

    def rendered(kind: str) -> str:
        return environment.from_string((folder / f"task-migration.{kind}.j2").read_text(encoding="utf-8")).render(
            description=service.description,
            command=service.command,
            user=_owner(service.configuration),
            writes=service.writes,
            digest=service.digest(),
            periodic=service.every_seconds is not None,
            calendar=calendar(service.every_seconds) if service.every_seconds else "",
            package_folder=package_folder(),
            restart_seconds=RESTART_SECONDS,
            stop_seconds=STOP_SECONDS,
        )

    kinds = ("service",) if service.every_seconds is None else ("service", "timer")
    return {f"{service.name}.{kind}": rendered(kind) for kind in kinds}


def calendar(every_seconds: int) -> str:
    """Returns the period as systemd's OnCalendar, the only form that catches up a run missed while the machine was off.

    Raises Refused for a period that does not divide the next unit of time evenly.
    """
    for unit, whole, form in (
        (_HOUR, _DAY, "*-*-* {}:00:00"),
        (_MINUTE, _HOUR, "*-*-* *:{}:00"),
        (1, _MINUTE, "*-*-* *:*:{}"),
    ):
        if every_seconds > 0 and every_seconds % unit == 0 and whole % every_seconds == 0:
            return form.format("00" if every_seconds == whole else f"00/{every_seconds // unit}")
    raise Refused(
        "systemd's OnCalendar cannot express this period",
        measured=f"{every_seconds} s",
        allowed="hours that divide a day, minutes that divide an hour, or seconds that divide a minute, such as 3600 s",
    )


@contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except (Failed, OSError) as error:
        measured = error.measured if isinstance(error, Failed) else error.strerror or str(error)
        raise Failed(f"{path} could not be written", measured=measured, next_step=_AS_ROOT) from error


def _unlink(path: Path) -> None:
    with _on_disk(path):
        path.unlink(missing_ok=True)


def _enabled_unit(service: Service) -> str:
    """Returns the unit to enable: the timer of a periodic service."""
    return f"{service.name}.{'service' if service.every_seconds is None else 'timer'}"


def _owner(path: Path) -> str:
    uid = path.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _text(text: str) -> str:
    return text.replace("%", "%%")


def _word(word: str) -> str:
    """Quotes one word of a unit, so that systemd reads it unchanged."""
    escaped = _text(word.replace("\\", "\\\\").replace('"', '\\"'))
    return f'"{escaped}"'


def _argument(word: str) -> str:
    """Quotes one word of a command, in which systemd would also replace variables."""
    return _word(word.replace("$", "$$"))
