"""TLS in front of a PostgreSQL server of the lab, whose binaries are built without it. It acts as RDS does with
force_ssl.

    python -m lab.servers.tls_proxy --port 7001 --to 6001 --directory .lab/tls

A client that asks for TLS, as libpq does, gets it. Any other client is refused with PostgreSQL's own message. While the
server is down, connections are closed without a message.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import trustme
import uvloop

from lab.servers.postgres_server import HOST

CA, CERTIFICATE = "ca.pem", "server.pem"
_SSL_REQUEST, _GSS_REQUEST, _CANCEL_REQUEST = 80877103, 80877104, 80877102
_READ = 65536


def make_certificates(directory: Path) -> bool:
    """Creates a CA and a server certificate for 127.0.0.1. Returns False if they exist."""
    if (directory / CERTIFICATE).exists():
        return False
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    ca = trustme.CA(organization_name="task-migration lab")
    ca.cert_pem.write_to_path(directory / CA)
    own = directory / CERTIFICATE
    own.touch(mode=0o600)
    ca.issue_cert(HOST, "localhost").private_key_and_cert_chain_pem.write_to_path(own)
    return True


async def _serve(port: int, to: int, directory: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / CERTIFICATE)

    async def serve_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            behind_reader, behind_writer = await asyncio.open_connection(HOST, to)
        except OSError:
            writer.transport.abort()
            return
        try:
            if await _start_tls(reader, writer, context):
                await _forward(reader, writer, behind_reader, behind_writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            behind_writer.close()
            writer.close()

    server = await asyncio.start_server(serve_client, HOST, port, backlog=512)
    async with server:
        await server.serve_forever()


async def _start_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> bool:
    """Returns whether the client asked for TLS and got it. Sends any other client a refusal."""
    while True:
        length, code = struct.unpack("!II", await reader.readexactly(8))
        if code == _GSS_REQUEST:
            writer.write(b"N")
            continue
        if code == _SSL_REQUEST:
            writer.write(b"S")
            await writer.drain()
            await writer.start_tls(context)
            return True
        if code != _CANCEL_REQUEST:
            await reader.readexactly(length - 8)
            writer.write(_refusal('no pg_hba.conf entry for host "127.0.0.1", no encryption'))
            await writer.drain()
        return False


def _refusal(message: str) -> bytes:
    """Returns an ErrorResponse message of PostgreSQL's protocol."""
    fields = "".join(
        f"{kind}{text}\0" for kind, text in (("S", "FATAL"), ("V", "FATAL"), ("C", "28000"), ("M", message))
    )
    body = fields.encode() + b"\0"
    return b"E" + struct.pack("!I", len(body) + 4) + body


async def _forward(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    behind_reader: asyncio.StreamReader,
    behind_writer: asyncio.StreamWriter,
) -> None:
    """Copies bytes in both directions until one side ends."""
    directions = [
        asyncio.ensure_future(_copy_bytes(reader, behind_writer)),
        asyncio.ensure_future(_copy_bytes(behind_reader, writer)),
    ]
    _, others = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
    for other in others:
        other.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await other


async def _copy_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_READ):
            writer.write(data)
            await writer.drain()


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m lab.servers.tls_proxy", description="TLS in front of a PostgreSQL server of the lab"
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--to", type=int, required=True, help="the port of the server")
    parser.add_argument("--directory", type=Path, required=True, help="the directory of the certificates")
    asked = parser.parse_args(words)
    with suppress(KeyboardInterrupt):
        uvloop.run(_serve(asked.port, asked.to, asked.directory))


if __name__ == "__main__":
    main()
