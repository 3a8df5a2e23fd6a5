"""The documentation of alert; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.external.alert.alert"

DOCUMENTATION = r"""
module: alert
author: The Task Service team
short_description: Sends an alert to an SNS topic and to a command
description:
  - Both are tried at once, even if one fails, and each for at most ten seconds.
  - Fails if one of them failed. It changes nothing in the migration.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.aws
options:
  subject:
    description:
      - What it is about, in a few words. It is shortened to what SNS accepts.
    type: str
    required: true
  message:
    description:
      - What happened. It must not contain a secret.
    type: str
    required: true
  alert_topic_arn:
    description:
      - The SNS topic, empty for none.
    type: str
    default: ""
  alert_command:
    description:
      - A command, word by word and without a shell, C([]) for none. Its stdin is the message; the subject is in its
        environment as C(ALERT_SUBJECT) and in place of C({subject}).
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says where the alert would go, and sends nothing.
    support: full
"""

EXAMPLES = r"""
- name: Alert the operator on call
  task_service.migration.alert:
    subject: The sync was rolled back
    message: The error rate was 7 %, allowed are 5 %.
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
  description: C(sent), the ways by which it was sent.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
