"""The kill switch as trading processes read it: which halts are set, and what they stop."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from common.db.sql import Query, periodic_rows, rows
from common.reason_codes import Code
from connections.models import HaltMode
from connections.selectors import EPOCH_IS_OPEN_SQL


class HaltRow(NamedTuple):
    """A kill switch that is set. Of the keys only that of its scope is neither None nor empty."""

    scope: str
    mode: str
    feed_id: int | None
    user_id: int | None
    connection_id: UUID | None
    broker_type: str
    pair: str


class ConnectionRow(NamedTuple):
    """A connection by its id, as reports name it."""

    connection_id: str


CURRENT_HALTS = Query(
    HaltRow,
    """
SELECT DISTINCT scope, mode, feed_id, user_id, connection_id, broker_type, pair
FROM connections_killswitch WHERE released_at IS NULL
""",
)

UNRECONCILED = Query(
    ConnectionRow,
    f"""
SELECT h.connection_id::text FROM connections_connectionhealth h
WHERE h.connection_id = ANY(%s::uuid[]) AND h.reconciled_at IS NULL
  AND {EPOCH_IS_OPEN_SQL}
""",
)


@dataclass(frozen=True, slots=True)
class Halts:
    """The halts that are set now: the mode of each scope, by its key."""

    all_trading: str | None = None
    feeds: dict[int, str] = field(default_factory=dict)
    users: dict[int, str] = field(default_factory=dict)
    connections: dict[str, str] = field(default_factory=dict)
    broker_types: dict[str, str] = field(default_factory=dict)
    pairs: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether any halt is set."""
        by_name = self.broker_types or self.pairs
        return bool(self.all_trading or self.feeds or self.users or self.connections or by_name)

    def mode(
        self,
        *,
        owner_id: int,
        feed_id: int | None,
        connection_id: UUID | str,
        broker_type: str,
        pairs: Collection[str],
    ) -> str | None:
        """Return the strictest mode that applies: HALTED, REDUCING or None.

        pairs: what the order trades, and what its signal names if that is mapped.
        """
        if not self:
            return None  # the usual case; called three times for each order
        modes = {
            self.all_trading,
            self.users.get(owner_id),
            self.connections.get(str(connection_id)),
            self.feeds.get(feed_id) if feed_id is not None else None,
            self.broker_types.get(broker_type),
            *(self.pairs.get(pair) for pair in pairs),
        }
        if HaltMode.HALTED.value in modes:
            return HaltMode.HALTED.value
        return HaltMode.REDUCING.value if HaltMode.REDUCING.value in modes else None


def denial_code(mode: str) -> Code:
    """Return why a halt of this mode stops an entry."""
    return Code.TRADING_HALTED if mode == HaltMode.HALTED else Code.ENTRIES_HALTED


def read_halts() -> Halts:
    """Read the halts that are set, in the caller's transaction if there is one."""
    return halts_of(periodic_rows(CURRENT_HALTS))


def halts_of(found: Sequence[HaltRow]) -> Halts:
    """Return the halts of these rows. If several apply to one scope, the strictest counts."""
    all_trading: str | None = None
    feeds: dict[int, str] = {}
    users: dict[int, str] = {}
    connections: dict[str, str] = {}
    broker_types: dict[str, str] = {}
    pairs: dict[str, str] = {}
    halts = sorted(found, key=lambda row: row.mode == HaltMode.HALTED)
    for row in halts:  # HALTED last
        if row.scope == "ALL":
            all_trading = row.mode
        elif row.feed_id is not None:
            feeds[row.feed_id] = row.mode
        elif row.user_id is not None:
            users[row.user_id] = row.mode
        elif row.broker_type:
            broker_types[row.broker_type] = row.mode
        elif row.pair:
            pairs[row.pair] = row.mode
        else:
            connections[str(row.connection_id)] = row.mode
    return Halts(all_trading, feeds, users, connections, broker_types, pairs)


def unreconciled_in_epoch(connection_ids: Iterable[str]) -> set[str]:
    """Return those of these connections that may send nothing, not even exits, in an open epoch.

    A row that the restored database no longer has may have sent the same exit already. A second one
    would close another position, so the account is reconciled with its broker first.
    """
    return {row.connection_id for row in rows(UNRECONCILED, (list(connection_ids),))}
