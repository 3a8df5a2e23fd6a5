"""What is this machine, and what is not: TLS and real credentials are for the latter."""

from __future__ import annotations

import ipaddress


def on_this_machine(host: str) -> bool:
    """Whether a host's name or address, or a socket's path, is this machine's own; "" is a socket."""
    if not host or host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
