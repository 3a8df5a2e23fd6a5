"""The documentation of approval_gate; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.control.approval_gate.approval_gate"

DOCUMENTATION = r"""
module: approval_gate
author: The Task Service team
short_description: Refuses what a second person has not approved
description:
  - Shows what is about to be done with its digest, and continues if enough others approved exactly that.
  - If not, it records the plan in the journal for them, and refuses.
  - In check mode it only shows the plan.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.aws
options:
  phase:
    description:
      - Which phase.
    type: str
    required: true
  command:
    description:
      - What the operator types for it.
    type: str
    required: true
  acts:
    description:
      - What would be done; the digest is made of this.
    type: dict
    required: true
  beside:
    description:
      - What is measured now and may change each minute, each a sentence.
    type: dict
    default: {}
  report:
    description:
      - A file to read before the approval, empty for none.
    type: str
    default: ""
  approvals_required:
    description:
      - How many others have to approve it.
    type: int
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
- name: Check that a second person approved that all users go to the Task Service
  task_service.migration.approval_gate:
    phase: "2.4"
    command: ansible-playbook phase-2.4-canary.yml -e weight=100
    acts: {from: 50, to: 100}
"""

RETURN = r"""
msg:
  description: Who approved it, in one line.
  type: str
  returned: always
lines:
  description: Further lines for the operator.
  type: list
  elements: str
  returned: success
details:
  description:
    - C(digest); and C(evidence), for the journal with the start of the phase.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
