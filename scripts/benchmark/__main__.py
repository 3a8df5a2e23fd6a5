"""Measures copy and verify beside other tools in one run. Creates the servers, and removes them afterwards.

``sync`` measures the sync instead: latency, drain rate, and the cost of capture.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmark import capture_cost, copying, draining, report, sync_report, syncing, verifying
from benchmark.native_replication import replication
from benchmark.programs import NotMeasured
from benchmark.servers import running_servers
from benchmark.sync_report import SyncResults
from benchmark.syncing import LOADS, SYNC_SETTINGS, Load

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
FEWEST_TASKS = 1000

Log = Callable[[str], None]


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "--tasks", type=int, default=1_000_000, help="the number of tasks in Laravel (default: 1,000,000)"
    )
    parser.add_argument("--plan-tasks", type=int, default=10_000, help="the number of tasks for the plan's script")
    parser.add_argument("--repetitions", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--ours-only", action="store_true", help="install nothing: only measure the runbook and psql")
    parser.add_argument("--write", action="store_true", help=f"write the page to {PAGE.name}")
    parser.set_defaults(measure=_copy_and_verify)
    commands = parser.add_subparsers(metavar="sync")
    _add_sync(commands.add_parser("sync", description="Measures the sync beside native logical replication."))
    asked = parser.parse_args(words)
    if asked.tasks < FEWEST_TASKS or asked.repetitions < 1:
        parser.error(f"--tasks {FEWEST_TASKS} or more, --repetitions 1 or more")
    if asked.measure is _copy_and_verify and asked.plan_tasks < 150:
        parser.error("--plan-tasks 150 or more")
    # So that SIGTERM removes the servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by a signal"))
    began = time.monotonic()

    def log(line: str) -> None:
        print(f"[{time.monotonic() - began:4.0f} s] {line}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="task-migration-benchmark-") as name:
        log(f"filling Laravel's database with {asked.tasks:,} tasks")
        asked.measure(asked, Path(name), log)
    return 0


def _add_sync(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tasks", type=int, default=200_000, help="the number of tasks in Laravel (default: 200,000)")
    parser.add_argument("--repetitions", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--seconds", type=int, default=10, help="the duration of each measurement (default: 10)")
    parser.add_argument(
        "--load",
        type=_load,
        action="append",
        metavar="F+B",
        help="only the latency at this many writes per second forward and backward (1000+0); can be repeated",
    )
    parser.add_argument("--drain", type=int, default=100_000, help="the keys to drain (default: 100,000)")
    parser.add_argument("--write", action="store_true", help=f"write the section to {PAGE.name}, and JSON beside it")
    parser.set_defaults(measure=_sync)


def _load(text: str) -> Load:
    found = re.fullmatch(r"(\d+)\+(\d+)", text)
    if found is None or not int(found[1]) + int(found[2]):
        raise argparse.ArgumentTypeError("not valid; allowed: writes per second forward and backward, as in 500+50")
    return Load(int(found[1]), int(found[2]))


def _copy_and_verify(asked: argparse.Namespace, directory: Path, log: Log) -> None:
    with running_servers(directory / "servers", asked.tasks, asked.plan_tasks) as made:
        log("filled")
        copied = copying.measure(made, directory, asked.repetitions, not asked.ours_only, log)
        try:
            verified = verifying.measure(made, directory, asked.repetitions, not asked.ours_only, log)
        except NotMeasured as error:
            verified = None
            log(f"verify: {error}")
        page = report.page(made, copied, verified, asked.repetitions)
    print(page)
    if asked.write:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(sync_report.with_section(page, sync_report.sync_section(_written())), encoding="utf-8")
        log(f"written to {PAGE}")


def _sync(asked: argparse.Namespace, directory: Path, log: Log) -> None:
    rounds, seconds, busy = asked.repetitions, asked.seconds, os.getloadavg()[0]
    with running_servers(directory / "servers", asked.tasks, 150, SYNC_SETTINGS) as made:
        log("filled")
        syncing.prepare(made)
        with replication(made) as native:
            synced, native_results = syncing.measure(made, directory, asked.load or LOADS, native, rounds, seconds, log)
        results = SyncResults(synced, native_results, rounds, seconds, busy)
        if not asked.load:
            drains = draining.measure(made, directory, asked.drain, rounds, log)
            costs = capture_cost.measure(made, rounds, seconds, log)
            results = SyncResults(synced, native_results, rounds, seconds, busy, drains, costs)
        text, figures = sync_report.section(made, results), sync_report.as_json(made, results)
    print(text)
    if asked.write:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(sync_report.with_section(_written(), text), encoding="utf-8")
        beside = PAGE.with_name("benchmarks-sync.json")
        beside.write_text(figures, encoding="utf-8")
        log(f"written to {PAGE} and {beside}")


def _written() -> str:
    return PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
