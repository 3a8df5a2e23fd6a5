"""The documentation of alert; run_core runs the function of the core that it names."""

CORE_FUNCTION = "task_migration.external.alert.alert"

DOCUMENTATION = r"""
module: alert
author: The Task Service team
short_description: Tells somebody, through an SNS topic and a command
description:
  - Both are tried at once, even if one fails, and each for at most ten seconds.
  - Fails if one of them failed. It changes nothing of what is migrated.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.aws
options:
  subject:
    description:
      - What it is about, in a few words. It is made one that SNS takes.
    type: str
    required: true
  message:
    description:
      - What there is to say. It may hold no secret.
    type: str
    required: true
  alert_topic_arn:
    description:
      - The SNS topic, empty for none.
    type: str
    default: ""
  alert_command:
    description:
      - A command, word by word and without a shell, C([]) for none. The message comes on its stdin, the subject in its
        environment as C(ALERT_SUBJECT) and in place of C({subject}).
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says who would be told, and tells nobody.
    support: full
"""

EXAMPLES = r"""
- name: Tell whoever is on call
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
  description: C(sent), the ways by which somebody was told.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
