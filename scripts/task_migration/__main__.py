"""The programs that run without a playbook: ``python -m task_migration COMMAND``.

To add one, write a function below that adds its arguments to the parser and returns the function to run, and add it to
``_COMMANDS``. A command imports what it needs only when it runs, so that every command starts fast.
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

from task_migration import options
from task_migration.errors import MigrationError, Refused

Command = Callable[[argparse.Namespace], int | None]


def sync(parser: argparse.ArgumentParser) -> Command:
    """sync changes in one direction until the process receives SIGTERM or SIGINT"""
    parser.add_argument("--direction", choices=("forward", "backward"), required=True)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="JSON, readable only by its owner")
    parser.add_argument("--health-port", type=int, metavar="N", help="instead of the port in FILE; 0: any free port")

    def run(arguments: argparse.Namespace) -> None:
        from task_migration.mapping import mapping_directory
        from task_migration.runtime import configuration, run_loop
        from task_migration.runtime.stop_signal import Stop

        direction = arguments.direction
        configured = configuration.read(arguments.config)
        mapping_directory.choose(configured.mapping_directory)
        port = arguments.health_port if arguments.health_port is not None else configured.health_ports.get(direction)
        if port is None:
            raise Refused(f"{arguments.config} has no health port for {direction}", next_step="add --health-port N")

        from task_migration.external.cloudwatch_publisher import CloudWatchPublisher
        from task_migration.sync.sync_worker import SyncSettings, SyncWorker

        worker = SyncWorker(SyncSettings.from_dict(configured.settings), direction)
        stop = Stop().on_signals(signal.SIGTERM, signal.SIGINT)
        run_loop.serve(
            worker,
            direction=direction,
            health_port=port,
            stop=stop,
            history=configured.history(direction),
            publisher=CloudWatchPublisher(**options.arguments_of(CloudWatchPublisher, configured.metrics)),
        )

    return run


def consistency(parser: argparse.ArgumentParser) -> Command:
    """compare both sides once; exit code 0: equal, 1: different, 2: the comparison could not run"""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="JSON, readable only by its owner")

    def run(arguments: argparse.Namespace) -> int:
        from task_migration.compare.consistency import Inconsistent, consistency
        from task_migration.mapping import mapping_directory
        from task_migration.runtime import configuration

        try:
            configured = configuration.read(arguments.config)
            mapping_directory.choose(configured.mapping_directory)
            needed = ("laravel_dsn", "task_service_dsn", "laravel_timezone", "s3_bucket")
            sides = {name: value for name, value in configured.settings.items() if name in needed}
            outcome = consistency(**options.arguments_of(consistency, {**sides, **configured.consistency}))
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
    """Runs one command and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m task_migration", description="Programs that run without a playbook."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        of_command = commands.add_parser(command.__name__, help=command.__doc__, description=command.__doc__)
        of_command.set_defaults(run=command(of_command))
    arguments = parser.parse_args(words)
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s UTC %(levelname)s %(message)s", datefmt="%F %T"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # httpx logs every request at INFO
    try:
        return int(arguments.run(arguments) or 0)
    except MigrationError as error:
        logging.error("%s", error)
        return 1
    except Exception as error:
        # The error's text may contain a row's content, so only its type and place are logged.
        frames = reversed(traceback.extract_tb(error.__traceback__))
        path = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
        logging.error("%s, a bug in this program: %s", type(error).__name__, path)
        return 1


if __name__ == "__main__":
    sys.exit(main())
