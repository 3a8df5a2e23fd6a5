"""Addresses that the inventory names, checked before anything is sent there."""

from __future__ import annotations

import ssl

import httpx

from task_migration.errors import Refused
from task_migration.external.loopback import on_this_machine


def checked(address: str, *, title: str, exposes: str, key: str) -> str:
    """The address without a slash at its end. Raises Refused for one that won't do, or that is not private.

    ``title`` is whose address it is, ``exposes`` what would leave this machine without TLS, ``key`` the inventory's.
    What the address holds beside scheme and host is not shown: it may be a secret.
    """
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        url = httpx.URL("")
    scheme = url.scheme if url.scheme in ("http", "https") else "neither http nor https"
    correct = f"correct {key} in the inventory"
    beside = ", with a login, query or fragment" if url.userinfo or url.query or url.fragment else ""
    if url.scheme not in ("http", "https") or not url.host or beside:
        raise Refused(
            f"the address of {title} won't do",
            measured=f"{scheme}, host {url.host or 'missing'}{beside}" if address else f"{key} is empty",
            allowed="https://host[:port][/path], with no login, query or fragment in it",
            next_step=correct,
        )
    if url.scheme == "http" and not on_this_machine(url.host):
        raise Refused(
            f"{exposes} may not leave this machine without TLS",
            measured=f"http to {url.host}",
            allowed="https, or http to 127.0.0.1",
            next_step=correct,
        )
    return address.rstrip("/")


def checked_api(base_url: str) -> str:
    """Returns the address of the Task Service's API without a final slash. Raises Refused if it is not valid."""
    return checked(
        base_url,
        title="the Task Service's API",
        exposes="the service token and users' tasks",
        key="the address of the Task Service's API",
    )


def trust(ca_file: str) -> ssl.SSLContext:
    """Returns a TLS context that trusts the CAs of this PEM file. Raises Refused if it cannot be read."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise Refused(
            f"the CA of the Task Service's API can't be read from {ca_file}",
            measured=error.strerror or type(error).__name__,
            allowed="a file of certificates in PEM",
            next_step="correct the path in the inventory",
        ) from error
