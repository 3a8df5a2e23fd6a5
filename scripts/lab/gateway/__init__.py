"""The part of AWS that the runbook uses: moto's server, API Gateway's HTTP routing, and the metrics of both."""
