"""PostgreSQL servers, their TLS proxies, Laravel's tables and rows, and background processes."""
