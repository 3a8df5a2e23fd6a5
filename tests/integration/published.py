"""What CloudWatch has of this runbook's metrics."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from task_migration.external import cloudwatch_publisher
from task_migration.external.aws import Aws

REGION = "ap-northeast-1"
NAMESPACE = "TaskMigration"


@dataclass(frozen=True)
class Published:
    """Reads the metrics of one environment back from the CloudWatch at ``url``."""

    url: str
    environment: str

    @property
    def told(self) -> dict[str, str]:
        """Where to publish, as publishers take it."""
        return {
            "metrics_namespace": NAMESPACE,
            "migration_environment": self.environment,
            "aws_region": REGION,
            "aws_endpoint_url": self.url,
        }

    def value(self, name: str, statistic: str = "Sum", direction: str = "") -> float | None:
        """Of the last ten minutes, in the unit of the catalogue; None if nothing was published."""
        dimensions = {"Environment": self.environment, **({"Direction": direction} if direction else {})}
        now = datetime.now(UTC)
        points = (
            Aws(REGION, self.url)
            .client("cloudwatch")
            .get_metric_statistics(
                Namespace=NAMESPACE,
                MetricName=name,
                Dimensions=[{"Name": one, "Value": of} for one, of in dimensions.items()],
                StartTime=now - timedelta(minutes=10),
                EndTime=now + timedelta(minutes=10),
                Period=3600,
                Statistics=[statistic],
                Unit=cloudwatch_publisher.catalogue()[name]["unit"],
            )["Datapoints"]
        )
        values = [float(point[statistic]) for point in points]
        together = {"Sum": sum, "Minimum": min, "Maximum": max}[statistic]
        return together(values) if values else None

    def names(self) -> set[str]:
        """The metrics that were published."""
        listed = (
            Aws(REGION, self.url)
            .client("cloudwatch")
            .list_metrics(Namespace=NAMESPACE, Dimensions=[{"Name": "Environment", "Value": self.environment}])
        )
        return {one["MetricName"] for one in listed["Metrics"]}
