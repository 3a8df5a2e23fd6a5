"""Formats times and durations for messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def when(at: datetime) -> str:
    """Returns a time as text, to the minute, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def duration(length: timedelta) -> str:
    """Returns a length of time in at most two units: "45 s", "12 min", "3 h 20 min", "2 d 5 h"."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours, days = seconds // 60 % 60, seconds // 3600 % 24, seconds // 86400
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
