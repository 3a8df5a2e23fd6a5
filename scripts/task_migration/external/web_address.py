"""Validates web addresses in the inventory before anything is sent to them."""

from __future__ import annotations

import ssl

import httpx

from task_migration.errors import Refused
from task_migration.external.loopback import on_this_machine


def checked(address: str, *, title: str, exposes: str, key: str) -> str:
    """Returns the address without a slash at its end. Raises Refused if it is not valid, or needs TLS and has none.

    ``title`` is the owner of the address, ``exposes`` the data that would leave this machine without TLS, ``key`` the
    name of the inventory's key. Messages show only scheme and host, because the rest may contain a secret.
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
            f"the address of {title} is not valid",
            measured=f"{scheme}, host {url.host or 'missing'}{beside}" if address else f"{key} is empty",
            allowed="https://host[:port][/path], with no login, query or fragment in it",
            next_step=correct,
        )
    if url.scheme == "http" and not on_this_machine(url.host):
        raise Refused(
            f"{exposes} must not leave this machine without TLS",
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
        key="task_service_url",
    )


def trust(ca_file: str) -> ssl.SSLContext:
    """Returns a TLS context that trusts the CAs of this PEM file. Raises Refused if it cannot be read."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise Refused(
            f"the CA file of the Task Service's API cannot be read: {ca_file}",
            measured=error.strerror or type(error).__name__,
            allowed="a file with certificates in PEM format",
            next_step="correct task_service_ca_file in the inventory",
        ) from error
