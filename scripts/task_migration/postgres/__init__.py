"""Sessions on both databases: logins, TLS, grants, short locks, COPY streams, and comparisons with the catalogs."""
