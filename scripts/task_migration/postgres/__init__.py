"""Sessions on both databases: logins, TLS, grants, short locks, COPY streams, what the catalogs hold."""
