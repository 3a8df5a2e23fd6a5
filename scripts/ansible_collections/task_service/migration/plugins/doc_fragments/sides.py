"""Options that several modules share."""


class ModuleDocFragment:
    INVENTORY = r"""
options: {}
notes:
  - An option that the task does not name has the value of the inventory's key of the same name, such as
    C(laravel_dsn). What the task names wins.
"""

    LARAVEL = r"""
options:
  laravel_dsn:
    description:
      - How to reach Laravel's database, as a libpq connection string without a password.
      - C(passfile=) in it says where the password is kept, C({role}) gives each purpose a login of its own
        (docs/decisions/0021-database-logins.md).
    type: str
    required: true
    no_log: true
"""

    TASK_SERVICE = r"""
options:
  task_service_dsn:
    description:
      - How to reach the Task Service's database, as a libpq connection string without a password.
      - In check mode that database need not exist.
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
      - The folder for reports. It is created if it does not exist.
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

    METRICS = r"""
options:
  metrics_namespace:
    description:
      - The namespace in CloudWatch in which the figures are published, empty for nowhere.
    type: str
    default: ""
"""

    SCHEDULE = r"""
options:
  schedule_begins:
    description:
      - The first day of phase 2.1, such as C(2025-12-15). Empty for no schedule.
    type: str
    default: ""
  laravel_timezone:
    description:
      - The time zone whose days count.
    type: str
    required: true
"""

    API = r"""
options:
  task_service_url:
    description:
      - Where the Task Service's API is, empty if it is not to be used.
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
      - The loopback ports on which the syncs report their health, C(forward) and C(backward).
    type: dict
    required: true
"""

    TRIGGERS = r"""
options:
  trigger_error_rate_percent:
    description:
      - The share of failed requests to the Task Service's API above which the dual write is rolled back.
    type: float
    default: 5
  trigger_latency_ms:
    description:
      - The p95 of the API and of the sync above which the dual write is rolled back.
    type: float
    default: 500
  change_log_warn_entries:
    description:
      - How many entries the change log may hold before there is a warning.
    type: int
    default: 100000
  change_log_max_entries:
    description:
      - How many entries the change log may hold before gates are red.
    type: int
    default: 1000000
  consistency_every_seconds:
    description:
      - How often both sides are compared; a check older than twice that does not count.
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

    GATEWAY = r"""
options:
  gateway_rest_api_id:
    description:
      - The id of API Gateway's REST API, empty while traffic cannot be moved.
    type: str
    default: ""
  gateway_stage:
    description:
      - The stage that serves users.
    type: str
    default: ""
  gateway_variable:
    description:
      - The stage variable that the integrations of the task routes, and only they, take their host from.
    type: str
    default: ""
  laravel_upstream:
    description:
      - The variable's value for Laravel, a host and perhaps a port.
    type: str
    default: ""
  task_service_upstream:
    description:
      - The variable's value for the Task Service, a host and perhaps a port.
    type: str
    default: ""
"""

    PROBES = r"""
options:
  gateway_url:
    description:
      - Where users reach the stage, empty if it is not to be probed. Off this machine it must be https.
    type: str
    default: ""
  gateway_probe_path:
    description:
      - What a probe reads.
    type: str
    default: /api/tasks
  gateway_probe_headers_file:
    description:
      - The file with the headers of a probe, one to a line, mode 0600; empty for none.
    type: path
    default: ""
"""

    CANARY = r"""
options:
  metric_source:
    description:
      - Where the metrics come from: C(kind) cloudwatch or prometheus, with its settings.
      - See the README of the role canary.
    type: dict
    required: true
  canary_error_rate_percent:
    description:
      - The share of failed requests to stay below.
    type: float
    default: 0.1
  canary_p95_ms:
    description:
      - The p95 to stay below.
    type: float
    default: 200
  canary_p95_samples:
    description:
      - How many requests a p95 takes.
    type: int
    default: 200
  canary_cpu_percent:
    description:
      - The CPU of the Task Service's database to stay below.
    type: float
    default: 70
  canary_sync_latency_ms:
    description:
      - The p95 of the sync to stay below, in each direction.
    type: float
    default: 100
  canary_confidence_percent:
    description:
      - How certain the gate has to be that a share is below its bound.
    type: float
    default: 95
  canary_settle_seconds:
    description:
      - How long a new weight may take to be in force everywhere.
    type: float
    default: 60
  canary_interval_seconds:
    description:
      - How often a weight is judged; what failed within the last such interval is also judged alone.
    type: float
    default: 60
  canary_window_seconds:
    description:
      - How far back a gate looks at most; never before the weight was set.
    type: float
    default: 86400
  verdict_max_age_hours:
    description:
      - How old the result of verify may be.
    type: float
    default: 24
  consistency_every_seconds:
    description:
      - How often both sides are compared; a check older than twice that does not count.
    type: int
    default: 3600
"""
