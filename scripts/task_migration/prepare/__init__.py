"""Phase 2.1: preflight, the Task Service's database and tables, and the bulk copy with its row accounts."""
