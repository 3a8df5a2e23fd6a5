"""The programs that run on their own, without a playbook: ``python -m task_migration COMMAND``.

To add one: a function below that tells argparse its arguments and gives what to do with them, and its line in
``_COMMANDS``. What a command needs is imported when it is run, so that each starts fast.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from task_migration.errors import MigrationError, Refused

Run = Callable[[argparse.Namespace], int | None]


def sync(parser: argparse.ArgumentParser) -> Run:
    """carries changes in one direction until it is told to stop"""
    parser.add_argument("--direction", choices=("forward", "backward"), required=True)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="JSON, readable for its owner alone")
    parser.add_argument("--health-port", type=int, metavar="N", help="instead of the one in FILE; 0: any that is free")

    def run(arguments: argparse.Namespace) -> None:
        from task_migration.mapping import mapping_directory
        from task_migration.runtime import configuration, run_loop
        from task_migration.runtime.stop_signal import Stop

        direction = arguments.direction
        told = configuration.read(arguments.config)
        mapping_directory.choose(told.mapping_directory)
        port = arguments.health_port if arguments.health_port is not None else told.health_ports.get(direction)
        if port is None:
            raise Refused(f"{arguments.config} names no health port for {direction}", next_step="add --health-port N")

        from task_migration.external.cloudwatch_publisher import CloudWatchPublisher
        from task_migration.sync.sync_worker import SyncSettings, SyncWorker

        worker = SyncWorker(SyncSettings.from_dict(told.settings), direction)
        stop = Stop().on_signals(signal.SIGTERM, signal.SIGINT)
        run_loop.serve(
            worker,
            direction=direction,
            health_port=port,
            stop=stop,
            history=told.history(direction),
            publisher=CloudWatchPublisher(**told.metrics),
        )

    return run


def consistency(parser: argparse.ArgumentParser) -> Run:
    """compares both sides once; ends with 0 if they are equal, 1 if not, 2 if it could not look"""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="JSON, readable for its owner alone")

    def run(arguments: argparse.Namespace) -> int:
        from task_migration.compare.consistency import Inconsistent, consistency
        from task_migration.mapping import mapping_directory
        from task_migration.runtime import configuration

        try:
            told = configuration.read(arguments.config)
            mapping_directory.choose(told.mapping_directory)
            kept = ("laravel_dsn", "task_service_dsn", "laravel_timezone", "s3_bucket")
            sides = {name: value for name, value in told.settings.items() if name in kept}
            outcome = consistency(**sides, **told.consistency)
        except Inconsistent as found:
            logging.error("%s", found)
            return 1
        except MigrationError as error:
            logging.error("%s", error)
            return 2
        logging.info("%s", outcome.message)
        return 0

    return run


_COMMANDS = (sync, consistency)


def main(words: list[str] | None = None) -> int:
    """Runs one command to its end; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m task_migration", description="What runs without a playbook.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        of_command = commands.add_parser(command.__name__, help=command.__doc__, description=command.__doc__)
        of_command.set_defaults(run=command(of_command))
    arguments = parser.parse_args(words)
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s UTC %(levelname)s %(message)s", datefmt="%F %T"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of every request
    try:
        return int(arguments.run(arguments) or 0)
    except MigrationError as error:
        logging.error("%s", error)
        return 1
    except Exception as error:
        # The message may hold a row's content: where it happened must do.
        frames = reversed(traceback.extract_tb(error.__traceback__))
        path = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
        logging.error("%s, which is a fault of this program: %s", type(error).__name__, path)
        return 1


if __name__ == "__main__":
    sys.exit(main())
