"""TLS in front of a PostgreSQL server of the lab, whose own binaries know none: as RDS does it with force_ssl.

    python -m lab.servers.tls_proxy --port 7001 --to 6001 --directory .lab/tls

A client that asks for TLS, as libpq does, gets it; one that does not is refused with PostgreSQL's own words. While the
server behind is away a connection ends at once, without a word.
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
    """A CA of the lab's own, and the server's certificate for 127.0.0.1; False if they are there."""
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

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            behind_reader, behind_writer = await asyncio.open_connection(HOST, to)
        except OSError:
            writer.transport.abort()
            return
        try:
            if await _greet(reader, writer, context):
                await _join(reader, writer, behind_reader, behind_writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            behind_writer.close()
            writer.close()

    server = await asyncio.start_server(one, HOST, port, backlog=512)
    async with server:
        await server.serve_forever()


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> bool:
    """Whether the client asked for TLS and got it; one that did not is told, and let go."""
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


def _refusal(words: str) -> bytes:
    """An ErrorResponse of PostgreSQL's."""
    fields = "".join(f"{kind}{text}\0" for kind, text in (("S", "FATAL"), ("V", "FATAL"), ("C", "28000"), ("M", words)))
    body = fields.encode() + b"\0"
    return b"E" + struct.pack("!I", len(body) + 4) + body


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    behind_reader: asyncio.StreamReader,
    behind_writer: asyncio.StreamWriter,
) -> None:
    """Carries bytes both ways until either side has ended."""
    ways = [
        asyncio.ensure_future(_carry(reader, behind_writer)),
        asyncio.ensure_future(_carry(behind_reader, writer)),
    ]
    _, others = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for other in others:
        other.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await other


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_READ):
            writer.write(data)
            await writer.drain()


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m lab.servers.tls_proxy", description="TLS in front of a server of the lab"
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--to", type=int, required=True, help="the server's port")
    parser.add_argument("--directory", type=Path, required=True, help="the folder of the certificates")
    asked = parser.parse_args(words)
    with suppress(KeyboardInterrupt):
        uvloop.run(_serve(asked.port, asked.to, asked.directory))


if __name__ == "__main__":
    main()
