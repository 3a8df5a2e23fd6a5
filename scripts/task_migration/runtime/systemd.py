"""Services under systemd: units of the system's own manager, hardened, rendered from the templates beside this module.

A change goes stop, write, reload, start. Killed anywhere on the way, it leaves the service stopped, so that the next
install sees that there is something to do.
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
    """``directory`` is where units are kept, ``systemctl`` the program to call."""

    directory: Path = Path("/etc/systemd/system")
    systemctl: str = "systemctl"

    def install(self, service: Service) -> bool:
        """See ``service.Host``. Raises Refused for a period that no calendar knows, Failed if systemd does not obey."""
        units = units_of(service)
        if not self.would_change(service):
            return False
        for path in self._put_off(service.name):
            if path.name not in units:
                _unlink(path)
        for folder in service.writes:
            with _on_disk(folder):
                folder.mkdir(parents=True, exist_ok=True)
        for name, text in units.items():
            self._write(self.directory / name, text)
        self._call("daemon-reload")
        self._call("enable", "--now", _begins(service))
        return True

    def remove(self, name: str) -> bool:
        """See ``service.Host``. Raises Failed if systemd does not obey; the units are still there then."""
        found = self._put_off(name)
        for path in found:
            _unlink(path)
        if found:
            self._call("daemon-reload")
        return bool(found)

    def running(self, name: str) -> bool:
        """See ``service.Host``."""
        found = self._files(name)
        return bool(found) and self._says("is-active", found[0].name)

    def installed(self, name: str) -> bool:
        """See ``service.Host``."""
        return bool(self._files(name))

    def would_change(self, service: Service) -> bool:
        """See ``service.Host``."""
        units = units_of(service)
        begins = _begins(service)
        # Asked first: a machine without systemctl is refused before anything is written.
        runs = self._says("is-active", begins) and self._says("is-enabled", begins)
        as_wanted = {path.name for path in self._files(service.name)} == units.keys() and all(
            (self.directory / name).read_text(encoding="utf-8") == text for name, text in units.items()
        )
        return not (runs and as_wanted)

    def _put_off(self, name: str) -> list[Path]:
        """Stops the units that are there, and gives them."""
        found = self._files(name)
        if found:
            self._call("disable", "--now", *(path.name for path in found))
        return found

    def _files(self, name: str) -> list[Path]:
        """The units that are there, the timer first: it must not start what is being stopped."""
        return [path for kind in ("timer", "service") if (path := self.directory / f"{name}.{kind}").exists()]

    def _write(self, path: Path, text: str) -> None:
        with _on_disk(path):
            atomic_file.write(path, text)
            path.chmod(0o644)

    def _says(self, *arguments: str) -> bool:
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
                f"{self.systemctl} can't be run on this machine",
                measured=error.strerror or str(error),
                allowed="a machine with systemd; service_kind process is for the lab",
                next_step="run the same playbook on a machine with systemd",
            ) from error
        except subprocess.TimeoutExpired as error:
            raise Failed(f"systemctl {' '.join(arguments)} gave no answer in {4 * STOP_SECONDS} s") from error


def units_of(service: Service) -> dict[str, str]:
    """The units' names and texts: the service's, and its timer's if it is periodic."""
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
    """The period as systemd's OnCalendar, which alone can make up for a run that the machine slept through.

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
        "systemd's calendar has no such period",
        measured=f"{every_seconds} s",
        allowed="what divides a day into hours, an hour into minutes or a minute into seconds evenly, such as 3600 s",
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


def _begins(service: Service) -> str:
    """The unit that is enabled: the timer begins a periodic service."""
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
    """One word in a unit, quoted so that systemd reads it as it is."""
    escaped = _text(word.replace("\\", "\\\\").replace('"', '\\"'))
    return f'"{escaped}"'


def _argument(word: str) -> str:
    """One word of a command, in which systemd would also put variables."""
    return _word(word.replace("$", "$$"))
