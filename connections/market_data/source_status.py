"""The status of price sources: the time of the last price, what is wrong, and what to do."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from django.db.models import BooleanField, DateTimeField, QuerySet
from django.db.models.expressions import RawSQL

from common.reason_codes import Code
from common.web.formatting import age, hint, join_first, sentence
from connections.market_data.compatibility import LIVE_KINDS
from connections.market_data.sources import can_provide_prices, is_used_sql
from connections.models import DataConnection, ExecutionConnection, SourceHealth
from connections.session_lanes import missing_worker_message
from users.models import User

DELIVERING, PARTIAL, NO_PRICES, STALE = "Delivering", "Partial", "No prices", "Stale"
STALE_AFTER = timedelta(seconds=60)
_RUN_PRICES = "The operators' process `manage.py prices` must run."
_CHOOSE_ANOTHER = "choose another price source for the accounts that use it."
_PUSH_AGAIN = (
    "Let your program push quotes again, also of prices that have not moved; its answers state what"
    " is refused and why."
)
_ON_FALLBACK = "Some pairs have the prices of its fallback."
_RETURNS = "It returns to its own prices 30 s after they have come back."
_SUSPECT = "A quote is suspect and fires nothing."
_SUSPECT_REMEDY = "A second quote confirms or denies it; compare the price at the broker."
_SOME_PAIRS_MISSING = "It has no usable price of some pairs."
_MAX_LISTED = 5
_RETRIED_AUTOMATICALLY = "It is retried automatically."
_CHECK_LISTING = (
    "Check that the broker lists and quotes these symbols, and that its market is open."
)
# For codes whose own hint is about an order, or links to the page that the reader is on.
_REMEDIES: dict[str, str] = {
    Code.CONNECTION_INACTIVE: f"Switch that account on, or {_CHOOSE_ANOTHER}",
    Code.NO_SESSION_WORKER: "It is followed as soon as one runs.",
    **dict.fromkeys((Code.BROKER_HOST_DOWN, Code.NOT_CONNECTED, Code.REPLY_LOST,
    Code.SEND_DEADLINE),
                    _RETRIED_AUTOMATICALLY),
    **dict.fromkeys((Code.QUOTE_MISSING, Code.QUOTE_STALE, Code.SYMBOL_NOT_AT_BROKER,
                     Code.UNKNOWN_SYMBOL_AT_BROKER), _CHECK_LISTING),
}  # fmt: skip
_TEMPORARY = frozenset(
    {Code.MARKET_CLOSED, *(code for code in _REMEDIES if _REMEDIES[code] is _RETRIED_AUTOMATICALLY)}
)


class FollowedSource(Protocol):
    """The columns of `SourceHealth` that decide whether a source waits, from any query."""

    pairs: list[str]
    error_code: str


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """The status of a source, for its reader.

    css, label: of its badge. message: what is the case; remedy: what to do; both may be empty.
    last_price_at: when the last price came in, machine time.
    """

    css: str
    label: str
    message: str = ""
    remedy: str = ""
    last_price_at: datetime | None = None

    @property
    def is_well(self) -> bool:
        """Whether no action is needed."""
        return self.css in ("ok", "pending")

    @property
    def text(self) -> str:
        """Message and remedy."""
        return f"{self.message} {self.remedy}".strip()


def last_price_sql(source: str, pair: str = "") -> str:
    """Return SQL for when a source's last price came, of one pair or any. Both are expressions."""
    of_pair = f" AND q.symbol = {pair}" if pair else ""
    return f"""
(SELECT max(q.received_at) FROM prices_latestquote q
 WHERE q.data_connection_id = {source}{of_pair})
"""


def with_status(rows: QuerySet[DataConnection]) -> QuerySet[DataConnection]:
    """Add what `source_status` needs of each source: health, account, last price, whether used."""
    is_used = RawSQL(is_used_sql("connections_dataconnection.id"), [], output_field=BooleanField())
    last = RawSQL(
        last_price_sql("connections_dataconnection.id"),
        [],
        output_field=DateTimeField(),
    )
    return (
        rows.select_related("user", "health", "broker_connection")
        .defer("broker_connection__sealed_credentials")
        .annotate(last_price_at=last, is_used=is_used)
    )


def with_source_status(
    connections: QuerySet[ExecutionConnection],
) -> QuerySet[ExecutionConnection]:
    """Add to connections what `account_prices` would read for each: the status of its source."""
    source = "connections_executionconnection.data_connection_id"
    is_used = RawSQL(is_used_sql(source), [], output_field=BooleanField())
    last = RawSQL(last_price_sql(source), [], output_field=DateTimeField())
    return (
        connections.select_related(
            "data_connection__user", "data_connection__health", "data_connection__broker_connection"
        )
        .defer("data_connection__broker_connection__sealed_credentials")
        .annotate(source_last_price_at=last, source_is_used=is_used)
    )


def source_with_status(connection: ExecutionConnection) -> DataConnection | None:
    """Return an account's source, as from `with_status`; None also if the caller may not see it.

    Needs no statement for connections from `with_source_status`.
    """
    row: Any = connection
    if hasattr(row, "source_is_used"):
        if (source := row.data_connection) is not None:
            source.last_price_at, source.is_used = row.source_last_price_at, row.source_is_used
        found: DataConnection | None = source
        return found
    pk = connection.data_connection_id
    return None if pk is None else with_status(DataConnection.objects.filter(pk=pk)).first()


@dataclass(frozen=True, slots=True)
class AccountPrices:
    """Where an account's prices come from.

    source, status: None if it has no price source. is_own: its own broker provides them.
    can_provide: its own broker could. held_back: how many quotes were; last_held: the last one, for
    who may read all of the source.
    """

    source: DataConnection | None
    status: SourceStatus | None
    is_own: bool
    can_provide: bool
    held_back: int = 0
    last_held: str = ""

    @property
    def offers_own(self) -> bool:
        """Whether it can change to its own broker's prices, or switch them on again."""
        is_used = self.is_own and self.source is not None and self.source.is_active
        return self.can_provide and not is_used


def account_prices(connection: ExecutionConnection, *, reader: User | None = None) -> AccountPrices:
    """Return where an account's prices come from.

    reader: who reads the status; None: an operator.
    """
    source = source_with_status(connection)
    health: SourceHealth | None = getattr(source, "health", None)
    is_whole = source is not None and is_fully_visible(source, reader)
    return AccountPrices(
        source,
        source_status(source, datetime.now(UTC), reader=reader) if source else None,
        is_own=source is not None and source.broker_connection_id == connection.pk,
        can_provide=connection.archived_at is None
        and can_provide_prices(connection.type, connection.exchange_name),
        held_back=health.held_back if health else 0,
        last_held=health.last_held if health and is_whole else "",
    )


def is_delivering(source: DataConnection, now: datetime) -> bool:
    """Return whether an account can use a source now, by its health alone, or its fallback.

    Needs no statement if `health` is selected. Recorded sources and those that have just started
    count as delivering. now: machine time.
    """
    health: SourceHealth | None = getattr(source, "health", None)
    if not source.is_active:
        return False
    if source.kind not in LIVE_KINDS or health is None or _is_waiting(health):
        return True
    is_starting = health.last_contact_at is None and not health.error_code
    return is_starting or bool(health.on_fallback) or _delivers_partly(health, now)


def _is_waiting(health: FollowedSource) -> bool:
    """Return whether a followed source is idle because no pair is needed yet: this is no error."""
    return not health.pairs and not health.error_code


def is_fully_visible(source: DataConnection, reader: User | None) -> bool:
    """Return whether a reader may read all of a source: operators, its owner, the system (None).

    For others, the broker's message might name the account, and the pairs show what others trade.
    """
    return reader is None or reader.is_operator or source.user_id == reader.pk


def source_status(
    source: DataConnection, now: datetime, *, reader: User | None = None
) -> SourceStatus:
    """Return the status of a source from `with_status`. now: machine time.

    reader: if they may not see all of the source, neither the broker's message nor pairs are shown.
    """
    last_price_at = getattr(source, "last_price_at", None)
    if not source.is_active:
        message = "It is switched off and provides no prices."
        return SourceStatus(
            "paused", "Switched off", message, f"Switch it on, or {_CHOOSE_ANOTHER}", last_price_at
        )
    if source.kind not in LIVE_KINDS:
        return _recorded_status(source, last_price_at, now)
    health: SourceHealth | None = getattr(source, "health", None)
    if health is not None and _is_waiting(health):
        message = "No pair is needed yet: it follows the pairs of signals and of open positions."
        return SourceStatus("pending", "Waiting", message, "", last_price_at)
    if health is not None and health.on_fallback:
        return _delivering_status(health, last_price_at, is_whole=is_fully_visible(source, reader))
    if health is not None and health.error_code:
        return _failing_status(
            source, health, last_price_at, reader, in_part=_delivers_partly(health, now)
        )
    alive_at = health.last_contact_at if health else source.created_at
    if alive_at is None:
        return SourceStatus("pending", "Starting", "It is followed; no prices have come in yet.")
    if now - alive_at > STALE_AFTER:
        if not getattr(source, "is_used", True):
            message = "No account uses it; it is followed as soon as one does."
            return SourceStatus("pending", "Not used", message, "", last_price_at)
        return _stale_status(source, health, last_price_at, now)
    if health is None:
        message = "A trading process starts following it within seconds."
        return SourceStatus("pending", "Starting", message)
    return _delivering_status(health, last_price_at, is_whole=is_fully_visible(source, reader))


def _recorded_status(
    source: DataConnection, last_price_at: datetime | None, now: datetime
) -> SourceStatus:
    if last_price_at is None:
        return SourceStatus("attention", NO_PRICES, "No price has come in yet.", _RUN_PRICES)
    is_old = now - last_price_at > STALE_AFTER and source.kind != DataConnection.Kind.STATIC
    if not is_old:
        return SourceStatus("ok", DELIVERING, "", "", last_price_at)
    message = f"The last price came in {_age_of(last_price_at, now)} ago."
    return SourceStatus(
        "attention", STALE, message, f"{_RUN_PRICES} Or {_CHOOSE_ANOTHER}", last_price_at
    )


def _failing_status(
    source: DataConnection,
    health: SourceHealth,
    last_price_at: datetime | None,
    reader: User | None,
    *,
    in_part: bool,
) -> SourceStatus:
    """Return the status of a source with an error.

    Readers who can resolve it get the broker's own message, which includes the code's sentence or
    is more precise.
    """
    code, label = health.error_code, PARTIAL if in_part else NO_PRICES
    if source.kind == DataConnection.Kind.PUSH:
        return SourceStatus("attention", label, health.error, _PUSH_AGAIN, last_price_at)
    remedy = _REMEDIES.get(code) or hint(code) or _RETRIED_AUTOMATICALLY
    account: Any = source.broker_connection  # None also if this reader may not see it
    if code == Code.CONNECTION_INACTIVE and account is not None and account.archived_at:
        remedy = _CHOOSE_ANOTHER.capitalize()  # an archived account cannot be switched on
    if is_fully_visible(source, reader):
        message = health.error or sentence(code)
        stop = "." if message[-1:].isalnum() else ""
        return SourceStatus("attention", label, f"{message}{stop}", remedy, last_price_at)
    message = f"These prices come from an account of the operators. {sentence(code)}"
    if code not in _TEMPORARY:
        remedy = f"Ask the operators, or {_CHOOSE_ANOTHER}"
    return SourceStatus("attention", label, message, remedy, last_price_at)


def _stale_status(
    source: DataConnection,
    health: SourceHealth | None,
    last_price_at: datetime | None,
    now: datetime,
) -> SourceStatus:
    alive_at = health.last_contact_at if health else None
    message = (
        f"No prices for {_age_of(alive_at, now)}." if alive_at else "No process follows it yet."
    )
    account: Any = source.broker_connection  # None also if this reader may not see it
    if source.kind == DataConnection.Kind.PUSH and alive_at is not None:
        return SourceStatus("attention", STALE, message, _PUSH_AGAIN, last_price_at)
    remedy = (missing_worker_message(account) if account else "") or _RUN_PRICES
    return SourceStatus(
        "attention", STALE if alive_at else "Not followed", message, remedy, last_price_at
    )


def _delivering_status(
    health: SourceHealth, last_price_at: datetime | None, *, is_whole: bool
) -> SourceStatus:
    if health.on_fallback:
        message = _fallback_message(health) if is_whole else _ON_FALLBACK
        return SourceStatus("attention", PARTIAL, message, _RETURNS, last_price_at)
    if health.suspects:
        message = _suspect_message(health) if is_whole else _SUSPECT
        return SourceStatus("attention", PARTIAL, message, _SUSPECT_REMEDY, last_price_at)
    if health.missing:
        message = (
            f"No usable price of {join_first(health.missing, _MAX_LISTED)}."
            if is_whole
            else _SOME_PAIRS_MISSING
        )
        remedy = _CHECK_LISTING if is_whole else f"Ask the operators, or {_CHOOSE_ANOTHER}"
        return SourceStatus("attention", PARTIAL, message, remedy, last_price_at)
    message = f"Follows {join_first(health.pairs, _MAX_LISTED)}." if is_whole else ""
    return SourceStatus("ok", DELIVERING, message, "", last_price_at)


def _fallback_message(health: SourceHealth) -> str:
    pairs = join_first(health.on_fallback, _MAX_LISTED)
    return f"{pairs}: the prices of {health.fallback_names}, shifted to where its own were."


def _suspect_message(health: SourceHealth) -> str:
    return f"A quote of {join_first(health.suspects, _MAX_LISTED)} is suspect and fires nothing."


def _delivers_partly(health: SourceHealth, now: datetime) -> bool:
    is_alive = health.last_contact_at is not None and now - health.last_contact_at <= STALE_AFTER
    return is_alive and len(health.missing) < len(health.pairs)


def _age_of(at: datetime, now: datetime) -> str:
    return age((now - at).total_seconds())
