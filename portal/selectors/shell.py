"""What the shell of every page shows: notifications, the level scan, kill switches."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from common.db.sql import rows
from events.selectors import unread_count_sql
from execution.monitoring.scan_heartbeat import SCAN_STATUS_SQL, ScanStatus
from portal.selectors.halts import SWITCH_COLUMNS, Halt, SwitchRow, affecting, as_halts
from users.models import User

_SHELL = f"""
SELECT mine.unread, {", ".join(f"scan.{name}" for name in ScanStatus._fields)},
  {", ".join(f"switch.{name}" for name in SWITCH_COLUMNS)}
FROM (SELECT {unread_count_sql("%s::bigint")} AS unread) mine
LEFT JOIN ({SCAN_STATUS_SQL}) scan ON true
LEFT JOIN ({{affecting}}) switch ON true
"""
_ANY_USER = -1  # the user for whom the statement is compiled


@dataclass(frozen=True, slots=True)
class Shell:
    """unread: how many notifications the user has not read. halts: what affects their trading."""

    unread: int
    scan: ScanStatus
    halts: list[Halt]


def shell_of(user: User) -> Shell:
    """Return what a user's pages show in their shell."""
    statement, parameters = _statement()
    found = rows(statement, [user.pk if one == _ANY_USER else one for one in parameters])
    begin = 1 + len(ScanStatus._fields)
    switches = [SwitchRow(*row[begin:]) for row in found if row.id is not None]
    return Shell(found[0].unread, ScanStatus(*found[0][1:begin]), as_halts(user, switches))


@cache  # every page has a shell, and to compile this takes longer than to run it
def _statement() -> tuple[str, tuple[Any, ...]]:
    """Return the statement and its parameters, with `_ANY_USER` where a user's id belongs."""
    found = affecting(User(pk=_ANY_USER)).values(*SWITCH_COLUMNS)
    sql, parameters = found.query.sql_with_params()
    return _SHELL.format(affecting=sql), (_ANY_USER, *parameters)
