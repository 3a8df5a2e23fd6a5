"""PostgreSQL servers, TLS in front of them, Laravel's tables and rows, and background processes."""
