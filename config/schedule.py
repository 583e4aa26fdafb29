"""What beat starts, and how often. Written into the database, where operators may change it."""

from typing import Any

# name → {"task": explicit name, "schedule": seconds or crontab(...), "options": {"queue": ...}}
SCHEDULE: dict[str, dict[str, Any]] = {}
