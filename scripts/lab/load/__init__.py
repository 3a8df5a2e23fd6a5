"""Users: live traffic, the ledger of what was acknowledged, and what became of it."""
