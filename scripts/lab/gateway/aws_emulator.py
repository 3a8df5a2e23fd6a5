"""AWS on this machine: moto's server, and where moto is silent or wrong, what AWS documents or was seen to answer.

    python -m lab.gateway.aws_emulator --port 5005

It takes any credentials, keeps everything in memory, and listens on 127.0.0.1 alone. What is not moto's is in ``aws/``,
and so are the tags by which a service is told to fail.
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

    moto keeps one world for a process: two emulators in it share theirs.
    """

    def __init__(self, port: int = 0, on_instance: ssm.OnInstance = ssm.run_nothing) -> None:
        self._port, self._on_instance = port, on_instance
        self._server: Any = None
        self.url = ""

    def start(self) -> AwsEmulator:
        """Raises Refused if the port is taken."""
        if self._port and port_is_taken(self._port):
            raise Refused(f"the port {self._port} is taken", next_step="python -m lab.gateway.aws_emulator --port 0")
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
    """Puts all that follows in moto's place, once."""
    ecs.end_deployments()
    ssm.run_commands()
    ssm.add_invocation_list()
    apigateway.add_canaries()
    cloudwatch.store_metrics()
    cloudwatch.start_alarms_without_data()


def main(words: list[str] | None = None) -> None:
    """Listens until SIGTERM or SIGINT; prints its address first."""
    parser = argparse.ArgumentParser(prog="python -m lab.gateway.aws_emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--directory", help="of the lab that it is of; nothing is kept there")
    ending = {signal.SIGTERM, signal.SIGINT}
    # Blocked before there is a thread, so that no thread of the server's takes it.
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    with AwsEmulator(parser.parse_args(words).port) as emulator:
        print(emulator.url, flush=True)
        signal.sigwait(ending)


if __name__ == "__main__":
    main()
