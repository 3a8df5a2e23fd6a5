"""Shows how far the migration is: status, the migration on one page, the sync's report."""
