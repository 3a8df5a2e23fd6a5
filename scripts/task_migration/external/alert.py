"""Sends an alert to an SNS topic and to a configured command."""

from __future__ import annotations

import threading
import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from task_migration.errors import Failed, MigrationError
from task_migration.external import local_command
from task_migration.external.aws import Aws, translated_errors
from task_migration.outcome import Outcome

TIMEOUT_SECONDS = 10.0
"""For each channel; both are used at the same time. An alert must not delay more urgent work, such as a rollback."""
GRACE_SECONDS = 0.5
"""How long a command that was killed at the time limit may take to end."""
SNS_CONNECT_SECONDS, SNS_READ_SECONDS = 2.0, 2.0
"""For each of two tries."""
LONGEST_SUBJECT = 99
"""SNS accepts fewer than 100 ASCII characters without line breaks (API reference, Publish)."""
LONGEST_MESSAGE_BYTES = 250_000
"""SNS accepts 256 KiB."""


@dataclass
class _Attempt:
    """One channel of an alert. ``send`` returns what went wrong, "" if nothing did."""

    title: str
    send: Callable[[], str]
    problem: str = field(default=f"no answer after {TIMEOUT_SECONDS:g} s", init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def start(self) -> None:
        """Sends in a daemon thread, because looking up a host name or credentials has no time limit."""
        self._thread = threading.Thread(target=self._run, name=f"alert {self.title}", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        if self._thread is not None:
            self._thread.join(max(0.0, seconds))

    def _run(self) -> None:
        try:
            self.problem = self.send()
        except MigrationError as error:
            self.problem = f"{error.what}: {error.measured}" if error.measured else error.what
        except Exception as error:  # no error of one channel may stop the other
            self.problem = f"{type(error).__name__}: {error}"


def alert(
    *,
    subject: str,
    message: str,
    aws: Aws,
    alert_topic_arn: str = "",
    alert_command: Sequence[str] = (),
    check: bool = False,
) -> Outcome:
    """Sends one message through every channel in the inventory, both at the same time, for ``TIMEOUT_SECONDS`` at most.

    ``alert_command`` is a list of words, run without a shell: it gets the message on stdin, and the subject in the
    environment variable ALERT_SUBJECT and in place of ``{subject}``. The subject is converted to one that SNS accepts.
    Neither may contain a secret. ``changed`` is always False, because no migrated data changes. Details: ``sent``, the
    channels that worked. Raises Failed if a channel failed; the other one was tried too.
    """
    subject, message = legal(subject), _cut(message.strip() or subject)
    attempts = []
    if alert_topic_arn:
        attempts.append(_Attempt(alert_topic_arn, lambda: _publish(aws, alert_topic_arn, subject, message)))
    if alert_command:
        attempts.append(_Attempt(f"the command {alert_command[0]}", lambda: _run(alert_command, subject, message)))
    if not attempts:
        return Outcome(
            False,
            f"no alert was sent, alert_topic_arn and alert_command are empty in the inventory: {subject}",
            {"sent": []},
        )
    titles = [one.title for one in attempts]
    if check:
        return Outcome(False, f"would send an alert to {' and '.join(titles)}: {subject}", {"sent": []})
    deadline = time.monotonic() + TIMEOUT_SECONDS + GRACE_SECONDS
    for one in attempts:
        one.start()
    for one in attempts:
        one.wait(deadline - time.monotonic())
    problems = {one.title: one.problem for one in attempts}
    sent = [title for title, problem in problems.items() if not problem]
    if len(sent) < len(problems):
        failed = {title: problem for title, problem in problems.items() if problem}
        raise Failed(
            f"the alert could not be sent to {' and '.join(failed)}: {subject}",
            measured=f"{'; '.join(failed.values())}; sent to: {' and '.join(sent) or 'none'}",
            next_step="inform the people on call; then correct alert_topic_arn or alert_command in the inventory",
        )
    return Outcome(False, f"alert sent to {' and '.join(sent)}: {subject}", {"sent": sent})


def legal(subject: str) -> str:
    """Returns the subject as SNS accepts it: one line of ASCII that begins with a letter, a digit or punctuation."""
    plain = unicodedata.normalize("NFKD", " ".join(subject.split()))
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    plain = "".join(character if " " <= character <= "~" else "?" for character in plain).lstrip(" -")
    if len(plain) > LONGEST_SUBJECT:
        plain = plain[: LONGEST_SUBJECT - 3].rstrip() + "..."
    return plain or "Task migration"


def _cut(message: str) -> str:
    return message.encode()[:LONGEST_MESSAGE_BYTES].decode(errors="ignore")


def _publish(aws: Aws, topic_arn: str, subject: str, message: str) -> str:
    sns = aws.client(
        "sns",
        attempts=2,
        connect_timeout_seconds=SNS_CONNECT_SECONDS,
        read_timeout_seconds=SNS_READ_SECONDS,
    )
    with translated_errors("publish the alert", writes=True):
        sns.publish(TopicArn=topic_arn, Subject=subject, Message=message)
    return ""


def _run(command: Sequence[str], subject: str, message: str) -> str:
    return local_command.run(
        [word.replace("{subject}", subject) for word in command],
        timeout_seconds=TIMEOUT_SECONDS,
        environment={"ALERT_SUBJECT": subject},
        stdin=message,
    ).problem
