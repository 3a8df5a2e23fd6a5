"""AWS as far as the runbook uses it: moto's server, API Gateway's data plane, and the metrics of both."""
