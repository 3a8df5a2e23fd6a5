"""AWS on this machine: moto's server, extended where moto differs from AWS.

    python -m lab.gateway.aws_emulator --port 5005

It accepts any credentials, stores everything in memory, and listens only on 127.0.0.1. The extensions are in ``aws/``,
with the tags that make a service fail.
"""

from __future__ import annotations

import argparse
import logging
import signal
from functools import cache
from typing import Any

from moto.server import ThreadedMotoServer
from task_migration.errors import Refused

from lab.gateway.aws import apigateway, cloudwatch, ecs, ssm
from lab.servers.postgres_server import port_is_taken

ADDRESS = "127.0.0.1"


class AwsEmulator:
    """The emulator in this process. ``port`` 0 takes a free one; ``url`` is for ``aws_endpoint_url``.

    moto has one state per process: two emulators in the same process share it.
    """

    def __init__(self, port: int = 0, on_instance: ssm.OnInstance = ssm.run_nothing) -> None:
        self._port, self._on_instance = port, on_instance
        self._server: Any = None
        self.url = ""

    def start(self) -> AwsEmulator:
        """Starts the server. Raises Refused if the port is in use."""
        if self._port and port_is_taken(self._port):
            raise Refused(f"port {self._port} is in use", next_step="python -m lab.gateway.aws_emulator --port 0")
        ssm.on_instance = self._on_instance
        extend_moto()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ADDRESS, self._port, verbose=False)
        self._server.start()
        self.url = f"http://{ADDRESS}:{self._server.get_host_and_port()[1]}"
        return self

    def stop(self) -> None:
        self._server.stop()

    def __enter__(self) -> AwsEmulator:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


@cache
def extend_moto() -> None:
    """Adds the extensions to moto, once."""
    ecs.end_deployments()
    ssm.run_commands()
    ssm.add_invocation_list()
    apigateway.add_canaries()
    cloudwatch.store_metrics()
    cloudwatch.start_alarms_without_data()


def main(words: list[str] | None = None) -> None:
    """Serves until SIGTERM or SIGINT. Prints the address first."""
    parser = argparse.ArgumentParser(prog="python -m lab.gateway.aws_emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--directory", help="identifies the lab of this process; nothing is stored there")
    ending = {signal.SIGTERM, signal.SIGINT}
    # Blocked before any thread exists, so that no thread of the server receives the signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    with AwsEmulator(parser.parse_args(words).port) as emulator:
        print(emulator.url, flush=True)
        signal.sigwait(ending)


if __name__ == "__main__":
    main()
