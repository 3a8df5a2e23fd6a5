"""Around the runbook, knowing nothing of tasks: files, commands, AWS clients, Terraform, git, alerts."""
