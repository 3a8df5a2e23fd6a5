"""The result of a verb, a function of the core that an Ansible module calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """The result of one verb.

    ``changed``  whether anything was changed (in check mode: would be changed);
    ``message``  one line for the operator, with the numbers;
    ``details``  the same for machines: JSON values only, no secret and no row's content;
    ``lines``    further lines for the operator, printed below the message in this order.
    """

    changed: bool
    message: str
    details: dict[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
