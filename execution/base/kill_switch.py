"""The kill switch as trading processes read it: which halts are set, and whom they stop."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from common.sql import rows
from connections.models import HaltMode

READ = """
SELECT scope, mode, feed_id, user_id, connection_id FROM connections_killswitch
WHERE released_at IS NULL
"""

UNRECONCILED = """
SELECT h.connection_id::text FROM connections_connectionhealth h
WHERE h.connection_id = ANY(%s::uuid[]) AND h.reconciled_at IS NULL
  AND EXISTS (SELECT FROM connections_epoch WHERE released_at IS NULL)
"""


@dataclass(frozen=True, slots=True)
class Halts:
    """What is set right now, each scope by its key."""

    everyone: str | None = None
    feeds: dict[int, str] = field(default_factory=dict)
    users: dict[int, str] = field(default_factory=dict)
    connections: dict[str, str] = field(default_factory=dict)

    def mode(self, *, owner_id: int, feed_id: int | None, connection_id: UUID | str) -> str | None:
        """Return the strictest mode that applies: HALTED, REDUCING or None."""
        if not (self.everyone or self.feeds or self.users or self.connections):
            return None  # as almost always, and asked three times for each order
        modes = {
            self.everyone,
            self.users.get(owner_id),
            self.connections.get(str(connection_id)),
            self.feeds.get(feed_id) if feed_id is not None else None,
        }
        if HaltMode.HALTED.value in modes:
            return HaltMode.HALTED.value
        return HaltMode.REDUCING.value if HaltMode.REDUCING.value in modes else None


def read_halts() -> Halts:
    """Read what is set, within the caller's transaction if there is one."""
    return halts_from_rows(rows(READ))


def halts_from_rows(found: Iterable[Any]) -> Halts:
    """Sort rows of kill switches by scope; of two in one scope the stricter holds."""
    everyone: str | None = None
    feeds: dict[int, str] = {}
    users: dict[int, str] = {}
    connections: dict[str, str] = {}
    for row in sorted(found, key=lambda r: r.mode == HaltMode.HALTED):  # HALTED is written last
        match row.scope:
            case "ALL":
                everyone = row.mode
            case "FEED":
                feeds[row.feed_id] = row.mode
            case "USER":
                users[row.user_id] = row.mode
            case _:
                connections[str(row.connection_id)] = row.mode
    return Halts(everyone, feeds, users, connections)


def unreconciled_in_epoch(connection_ids: Iterable[str]) -> set[str]:
    """Return those of these connections that an open epoch lets nothing out for, exits neither.

    An exit whose twin was sent by a row that the database forgot would close what it was not meant
    for; so the account is compared with its broker first.
    """
    return {row.connection_id for row in rows(UNRECONCILED, (list(connection_ids),))}
