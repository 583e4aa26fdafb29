"""What the shell of every page shows: notifications, the level scan, kill switches."""

from dataclasses import dataclass

from common.sql import rows
from events.selectors import unread_count_sql
from execution.monitoring.scan_heartbeat import SCAN_STATUS_SQL, ScanStatus
from portal.selectors.halts import SWITCH_COLUMNS, Halt, SwitchRow, affecting, as_halts
from users.models import User

_SHELL = f"""
SELECT mine.unread, {{scan}}, {{switches}}
FROM (SELECT {unread_count_sql("%s::bigint")} AS unread) mine
LEFT JOIN ({SCAN_STATUS_SQL}) scan ON true
LEFT JOIN ({{affecting}}) switch ON true
"""


@dataclass(frozen=True, slots=True)
class Shell:
    """unread: how many notifications the user has not read. halts: what affects their trading."""

    unread: int
    scan: ScanStatus
    halts: list[Halt]


def shell_of(user: User) -> Shell:
    """Return what a user's pages show in their shell."""
    sql, parameters = affecting(user).values(*SWITCH_COLUMNS).query.sql_with_params()
    statement = _SHELL.format(
        scan=", ".join(f"scan.{name}" for name in ScanStatus._fields),
        switches=", ".join(f"switch.{name}" for name in SWITCH_COLUMNS),
        affecting=sql,
    )
    found = rows(statement, (user.pk, *parameters))
    begin = 1 + len(ScanStatus._fields)
    switches = [SwitchRow(*row[begin:]) for row in found if row.id is not None]
    return Shell(found[0].unread, ScanStatus(*found[0][1:begin]), as_halts(user, switches))
