"""Moves users: API Gateway's stage and Laravel's flag. Needs no database, so a rollback never waits for one."""
