"""Looks up an address of the lab in its endpoints.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: lab_endpoint
author: The Task Service team
short_description: Reads an address of the lab
description:
  - Reads addresses from endpoints.json in the lab's folder.
  - Returns an empty string while the lab is down; check_inputs then says what to type.
options:
  _terms:
    description: Names of addresses, such as C(laravel_dsn).
    required: true
  directory:
    description: The lab's folder.
    type: path
    required: true
"""

EXAMPLES = """
- name: Laravel's database in the lab
  ansible.builtin.debug:
    msg: "{{ lookup('task_service.migration.lab_endpoint', 'laravel_dsn', directory='.lab') }}"
"""

RETURN = """
_raw:
  description: One address for each name.
  type: list
  elements: str
"""


class LookupModule(LookupBase):
    """Reads endpoints.json each time: lab-up writes it while a playbook runs."""

    def run(self, terms: Sequence[str], variables: dict[str, Any] | None = None, **options: Any) -> list[str]:
        self.set_options(var_options=variables, direct=options)
        file = Path(self.get_option("directory"), "endpoints.json")
        try:
            endpoints = json.loads(file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            endpoints = {}
        return [str(endpoints.get(term, "")) for term in terms]
