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

    API = r"""
options:
  task_service_url:
    description:
      - Where the Task Service's API is, empty if it is not to be asked.
      - Off this machine it must be https.
    type: str
    default: ""
  task_service_ca_file:
    description:
      - The CA of a private certificate of the Task Service's API, empty for the machine's own.
    type: str
    default: ""
"""

    HEALTH = r"""
options:
  sync_health_ports:
    description:
      - The loopback ports on which the syncs tell of their health, C(forward) and C(backward).
    type: dict
    required: true
"""

    TRIGGERS = r"""
options:
  trigger_error_rate_percent:
    description:
      - The share of failed requests to the Task Service's API above which the dual write is taken back.
    type: float
    default: 5
  trigger_latency_ms:
    description:
      - The p95 of the API and of the sync above which the dual write is taken back.
    type: float
    default: 500
  change_log_warn_entries:
    description:
      - How many entries the change log may hold before it is warned of.
    type: int
    default: 100000
  change_log_max_entries:
    description:
      - How many entries the change log may hold before gates are red.
    type: int
    default: 1000000
  consistency_every_seconds:
    description:
      - How often both sides are compared; a check older than twice that says nothing.
    type: int
    default: 3600
"""

    ALERTS = r"""
options:
  alert_topic_arn:
    description:
      - The SNS topic, empty for none.
    type: str
    default: ""
  alert_command:
    description:
      - A command, word by word and without a shell, C([]) for none.
    type: list
    elements: str
    default: []
"""
