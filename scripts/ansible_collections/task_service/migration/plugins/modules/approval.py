"""The documentation of approval; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.control.approval.approval"

DOCUMENTATION = r"""
module: approval
author: The Task Service team
short_description: Approves another operator's plan
description:
  - Shows the plan again as the operator's command recorded it, and records the approval in the journal.
  - Refuses the operator who made the plan. In check mode it only shows the plan.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.aws
options:
  plan:
    description:
      - The digest of the plan, twelve letters of it or more.
    type: str
    required: true
  approval_max_age_hours:
    description:
      - How long an approval is valid.
    type: float
    required: true
  aws_account_id:
    description:
      - The number of the AWS account. Empty where operators are identified by the login of their machine.
    type: str
    default: ""
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Approve the plan of a colleague
  task_service.migration.approval:
    plan: 3f2a90c417de
"""

RETURN = r"""
msg:
  description: Which plan, whose, and until when it is approved, in one line.
  type: str
  returned: always
lines:
  description: Further lines for the operator.
  type: list
  elements: str
  returned: success
details:
  description:
    - C(digest), C(phase), C(by), C(approver) and C(command), what the operator types then.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
