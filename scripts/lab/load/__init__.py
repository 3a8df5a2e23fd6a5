"""User traffic, the ledger of its requests, and the check that no acknowledged write was lost."""
