"""Options that several modules share, said once."""


class ModuleDocFragment:
    LARAVEL = r"""
options:
  laravel_dsn:
    description:
      - How to reach Laravel's database, as a libpq connection string without a password.
      - C(passfile=) in it names the file that holds the password.
    type: str
    required: true
    no_log: true
"""

    TASK_SERVICE = r"""
options:
  task_service_dsn:
    description:
      - How to reach the Task Service's database, as a libpq connection string without a password.
      - That database need not exist in check mode.
    type: str
    required: true
    no_log: true
"""

    MAPPING = r"""
options:
  laravel_timezone:
    description:
      - The time zone in which the Laravel application writes its timestamps, which carry none.
    type: str
    required: true
  s3_bucket:
    description:
      - The bucket that holds the images; the objects' addresses are made of it.
    type: str
    required: true
"""

    REPORTS = r"""
options:
  report_directory:
    description:
      - The folder for reports. It is made if it is not there.
    type: path
    required: true
"""

    LAB = r"""
options:
  lab_directory:
    description:
      - The folder that holds everything of the lab, and endpoints.json with its addresses.
    type: path
    required: true
"""

    AWS = r"""
options:
  aws_region:
    description:
      - The AWS region.
    type: str
    required: true
  aws_endpoint_url:
    description:
      - Where AWS is reached, empty for AWS itself. Off this machine it must be https.
    type: str
    default: ""
"""
