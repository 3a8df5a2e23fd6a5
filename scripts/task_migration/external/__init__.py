"""What the runbook uses outside the databases: files, commands, AWS clients, Terraform, git, alerts."""
