"""The documentation of services; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.runtime.services.services"

DOCUMENTATION = r"""
module: services
author: The Task Service team
short_description: Installs or removes a service that keeps running after the playbook has ended
description:
  - Installs the sync of a direction, or the periodic consistency check, under systemd or a supervisor of the
    runbook, and writes their configuration.
  - It is restarted only if its configuration changed. Removing it needs no database.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
  - task_service.migration.sides.mapping
  - task_service.migration.sides.api
  - task_service.migration.sides.health
  - task_service.migration.sides.alerts
  - task_service.migration.sides.aws
  - task_service.migration.sides.metrics
options:
  name:
    description:
      - Which service.
    type: str
    choices: [sync_forward, sync_backward, consistency]
    required: true
  state:
    description:
      - Whether it is installed.
    type: str
    choices: [present, absent]
    default: present
  migration_environment:
    description:
      - Part of the service's name, so that one machine can serve several environments.
    type: str
    required: true
  service_kind:
    description:
      - What keeps it running. C(process) is the runbook's own supervisor, for machines without systemd.
    type: str
    choices: [systemd, process]
    required: true
  service_directory:
    description:
      - The folder for the configuration, the lag's history, and the files of the supervisor.
    type: path
    required: true
  sync_sink:
    description:
      - How changes reach the Task Service, straight into its database or through its API.
    type: str
    choices: [database, api]
    default: database
  sync_workers:
    description:
      - How many workers of a direction run on this machine.
    type: int
    default: 1
  service_token_file:
    description:
      - The file with the token that the API takes from the sync; only for C(sync_sink=api).
    type: str
    no_log: false
    default: ""
  consistency_every_seconds:
    description:
      - How often both sides are compared.
    type: int
    default: 3600
  quarantine_signed_off:
    description:
      - Kinds of quarantined rows that are accepted, each with the reason.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Install the sync service
  task_service.migration.services:
    name: sync_forward
"""

RETURN = r"""
msg:
  description: What was done, or would be, in one line.
  type: str
  returned: always
lines:
  description: Further lines for the operator.
  type: list
  elements: str
  returned: success
details:
  description: C(name) and C(services), those that were changed.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
