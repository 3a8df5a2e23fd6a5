"""The scan for secrets: after a journey, no secret may be where others can read it.

The secrets are: the passwords of both servers, the service token, the private key of the lab's certificate, and AWS
credentials that every command of the journey received. The scan reads what was printed, the command lines of all
processes during the journey, every file of the lab and the reports (Terraform's state too), and every row of the
runbook's tables. It skips the files that store a secret with mode 0600.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from psycopg import sql

from lab.locations import Locations
from lab.servers import tls_proxy
from lab.servers.postgres_server import PostgresServer
from lab.sql_files import statement

SAMPLE_SECONDS = 0.2
SHORTEST = 12
"""A shorter word could match by chance."""
RUNBOOK_SCHEMA = "task_migration"


@dataclass
class SecretScan:
    """The scan of a lab and the folder of its reports.

    As a context manager it records command lines. The caller adds what was printed to ``printed``.
    """

    locations: Locations
    reports: Path
    known: dict[str, str] = field(default_factory=dict)
    printed: list[str] = field(default_factory=list)
    command_lines: set[str] = field(default_factory=set)
    environment: Mapping[str, str] = field(
        default_factory=lambda: {
            "AWS_SECRET_ACCESS_KEY": f"scanned{secrets.token_hex(17)}",
            "AWS_SESSION_TOKEN": f"scanned{secrets.token_hex(40)}",
            "AWS_ACCESS_KEY_ID": "AKIASCANNED000000000",
        }
    )
    """Additional variables for every command, so that a program that prints its environment is detected."""

    def __post_init__(self) -> None:
        self._end = threading.Event()
        self._watch = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        self._watch.join()

    def collect(self) -> None:
        """Reads the current secrets. Earlier ones are still searched for after a password changes."""
        for server in (self.locations.laravel_server(0), self.locations.task_service_server(0)):
            for passfile in sorted((server.directory / "passfiles").glob("*")):
                with suppress(OSError):
                    for line in passfile.read_text(encoding="utf-8").splitlines():
                        self._know(line.rsplit(":", 1)[-1], f"a password of {passfile.name}")
        with suppress(OSError):
            self._know(self.locations.service_token_file.read_text(encoding="ascii").strip(), "the service token")
        with suppress(OSError):
            key = (self.locations.tls_directory / tls_proxy.CERTIFICATE).read_text(encoding="ascii").splitlines()[1]
            self._know(key, "the private key of the certificate")
        for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            self._know(self.environment[name], name)

    def findings(self) -> list[str]:
        """Returns each secret's name and where it was found; [] if there is none."""
        self.collect()
        return sorted(
            {
                f"{self.known[secret]} is in {where}"
                for where, text in self._texts()
                for secret in self.known
                if secret in text
            }
        )

    def summary(self) -> str:
        """Returns how much was searched, in a few words."""
        files = sum(1 for _ in self._files())
        return (
            f"searched for {len(self.known)} secrets in {files} files, {len(self.printed):,} lines of output, "
            f"{len(self.command_lines)} command lines and the runbook's tables on both sides"
        )

    def _know(self, secret: str, what: str) -> None:
        if len(secret) >= SHORTEST:
            self.known.setdefault(secret, what)

    def _sample(self) -> None:
        while not self._end.wait(SAMPLE_SECONDS):
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    self.command_lines.add(" ".join(process.cmdline()))

    def _texts(self) -> Iterator[tuple[str, str]]:
        """Returns every place with its text."""
        yield "the output", "\n".join(self.printed)
        yield "a command line", "\n".join(self.command_lines)
        for path in self._files():
            with suppress(OSError):
                yield str(path), path.read_bytes().decode("utf-8", errors="replace")
        for server in (self.locations.laravel_server(0), self.locations.task_service_server(0)):
            if (port := server.running_port()) is not None:
                yield from self._rows(PostgresServer(server.directory, port))

    def _files(self) -> Iterator[Path]:
        protected = {
            self.locations.service_token_file,
            self.locations.probe_headers_file,
            self.locations.tls_directory / tls_proxy.CERTIFICATE,
        }
        logs = [self.locations.laravel_server(0).log, self.locations.task_service_server(0).log]
        for path in [*self.locations.directory.rglob("*"), *self.reports.rglob("*"), *logs]:
            is_data = {"data", "passfiles", "embedded_postgres", ".git"} & set(path.parts)
            if path.is_file() and not path.is_symlink() and path not in protected and not is_data:
                yield path

    def _rows(self, server: PostgresServer) -> Iterator[tuple[str, str]]:
        with server.connect() as session:
            databases = [name for (name,) in session.execute(statement("servers/server.sql", "databases")).fetchall()]
        for database in databases:
            with server.connect(database) as session:
                tables = session.execute(
                    statement("servers/server.sql", "tables of"), {"schema": RUNBOOK_SCHEMA}
                ).fetchall()
                for (table,) in tables:
                    rows = session.execute(
                        statement("servers/server.sql", "rows", table=sql.Identifier(RUNBOOK_SCHEMA, table))
                    )
                    yield f"{RUNBOOK_SCHEMA}.{table} of {database}", "\n".join(row[0] for row in rows)
