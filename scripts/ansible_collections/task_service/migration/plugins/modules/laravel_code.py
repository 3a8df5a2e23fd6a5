"""The documentation of laravel_code; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.finish.laravel_code.laravel_code"

DOCUMENTATION = r"""
module: laravel_code
author: The Task Service team
short_description: Removes Laravel's task code from a git checkout, as one commit on a branch of its own
description:
  - Removes app/Http/Actions/Task, app/Services/Task, app/Repositories/Task, resources/views/tasks, and the routes
    below /tasks in routes/web.php.
  - The commit does not touch the working tree. Nothing is pushed, and no other branch is changed.
  - Names what still refers to the removed code, and which routes it could not classify and left.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
options:
  laravel_checkout:
    description:
      - The top folder of a git checkout with nothing uncommitted in it.
    type: path
    required: true
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Make a commit for review
  task_service.migration.laravel_code:
"""

RETURN = r"""
msg:
  description: What was done, or would be, in one line.
  type: str
  returned: always
lines:
  description: Routes that are removed, statements that were left, and what still refers to the removed code.
  type: list
  elements: str
  returned: success
details:
  description: C(branch), C(commit), C(files), C(routes), C(doubtful), C(references) (the first of C(reference_count)).
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
