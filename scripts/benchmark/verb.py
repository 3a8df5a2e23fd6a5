"""Runs one core function in a process of its own:  python -m benchmark.verb prepare.bulk_copy < parameters.json

Prints one line of JSON: ``seconds`` inside the verb, ``memory`` (peak, MB), ``steps`` (seconds each), and ``failed``.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path

from task_migration.errors import MigrationError
from task_migration.progress import Progress


def main() -> int:
    name, parameters = sys.argv[1], json.load(sys.stdin)
    verb = getattr(import_module(f"task_migration.{name}"), name.rpartition(".")[2])
    marks: list[tuple[str, float]] = [("beginning", time.perf_counter())]

    def listen(progress: Progress) -> None:
        step = progress.note or progress.doing
        if step != marks[-1][0]:
            marks.append((step, time.perf_counter()))

    began = time.perf_counter()
    failed, lines = "", []
    try:
        outcome = verb(**parameters, listener=listen)
        lines = list(outcome.lines)
    except MigrationError as error:
        failed = str(error)
    ended = time.perf_counter()
    steps = {step: after - at for (step, at), after in zip(marks, [*(at for _, at in marks[1:]), ended], strict=True)}
    json.dump(
        {"seconds": ended - began, "memory": _peak(), "steps": steps, "failed": failed, "lines": lines}, sys.stdout
    )
    return 0


def _peak() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    sys.exit(main())
