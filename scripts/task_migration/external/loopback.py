"""Tells addresses of this machine from others: only others need TLS and real credentials."""

from __future__ import annotations

import ipaddress


def on_this_machine(host: str) -> bool:
    """Returns whether a host name, an address or a socket's path is on this machine; "" means a socket."""
    if not host or host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
