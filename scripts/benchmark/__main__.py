"""Copy and verify measured beside their contenders, in one run; everything is started and taken away by it."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmark import copying, report, verifying
from benchmark.programs import NotHere
from benchmark.world import world

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
FEWEST_TASKS = 1000


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "--tasks", type=int, default=1_000_000, help="how many tasks Laravel holds (default: 1,000,000)"
    )
    parser.add_argument("--plan-tasks", type=int, default=10_000, help="on how many the plan's script is measured")
    parser.add_argument("--repetitions", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--ours-only", action="store_true", help="install nothing: leave out what is not ours or psql")
    parser.add_argument("--write", action="store_true", help=f"put the page into {PAGE.name}")
    asked = parser.parse_args(words)
    if asked.tasks < FEWEST_TASKS or asked.plan_tasks < 150 or asked.repetitions < 1:
        parser.error(f"--tasks {FEWEST_TASKS} or more, --plan-tasks 150 or more, --repetitions 1 or more")
    # So that an end by kill takes the servers down too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"[{time.monotonic() - began:4.0f} s] {line}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="task-migration-benchmark-") as name:
        directory = Path(name)
        tell(f"filling Laravel's database with {asked.tasks:,} tasks")
        with world(directory / "servers", asked.tasks, asked.plan_tasks) as made:
            tell("filled")
            copied = copying.measure(made, directory, asked.repetitions, not asked.ours_only, tell)
            try:
                verified = verifying.measure(made, directory, asked.repetitions, not asked.ours_only, tell)
            except NotHere as error:
                verified = None
                tell(f"verify: {error}")
            page = report.page(made, copied, verified, asked.repetitions)
    print(page)
    if asked.write:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page, encoding="utf-8")
        tell(f"written to {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
