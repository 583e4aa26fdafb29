"""How price sources fare: when each last told something, what is wrong, and what to do."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from django.db.models import BooleanField, DateTimeField, QuerySet
from django.db.models.expressions import RawSQL

from common.formatting import age, hint, join_first, sentence
from common.reason_codes import Code
from connections.market_data.sources import is_used_sql
from connections.models import DataConnection, ExecutionConnection, SourceHealth
from connections.session_lanes import missing_worker_hint
from users.models import User

PARTIAL = "Tells in part"
STALE_AFTER = timedelta(seconds=60)
_LAST_PRICE = """
(SELECT max(q.received_at) FROM prices_latestquote q
 WHERE q.data_connection_id = connections_dataconnection.id)
"""
_RUN_PRICES = "The operators' process `manage.py prices` must run."
_CHOOSE_ANOTHER = "choose another price source for the accounts that use it."
_SOME_PAIRS_MISSING = "It has no usable price of some pairs."
_MAX_LISTED = 5
_RETRIED_AUTOMATICALLY = "It is tried again by itself."
_CHECK_LISTING = "Look whether the broker lists and quotes that, and whether its market is open."
# Where a code's own hint is about an order, or sends its reader to where he is.
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
    """What is asked of a row of `SourceHealth`, however it was read."""

    pairs: list[str]
    error_code: str


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """css, label: its state, with its shape. message: what is so, remedy: what helps; both may be
    empty. last_price_at: when its last price came in, by the machine's clock."""

    css: str
    label: str
    message: str = ""
    remedy: str = ""
    last_price_at: datetime | None = None

    @property
    def is_well(self) -> bool:
        """Whether nobody needs to do anything."""
        return self.css in ("ok", "pending")

    @property
    def text(self) -> str:
        return f"{self.message} {self.remedy}".strip()


def with_status(rows: QuerySet[DataConnection]) -> QuerySet[DataConnection]:
    """Add to sources what `source_status` asks of each: its health, its account, its last price."""
    is_used = RawSQL(is_used_sql("connections_dataconnection.id"), [], output_field=BooleanField())
    last = RawSQL(_LAST_PRICE, [], output_field=DateTimeField())
    return (
        rows.select_related("user", "health", "broker_connection")
        .defer("broker_connection__sealed_credentials")
        .annotate(last_price_at=last, is_used=is_used)
    )


def source_with_status(connection: ExecutionConnection) -> DataConnection | None:
    """Return what an account goes by, as `with_status` has it; None also where who asks may not see
    it."""
    pk = connection.data_connection_id
    return None if pk is None else with_status(DataConnection.objects.filter(pk=pk)).first()


def is_delivering(source: DataConnection, now: datetime) -> bool:
    """Return whether an account can go by a source now, by its row of health alone (no statement
    where that is selected, too). Recorded ones and those that just begin are taken to tell."""
    state: SourceHealth | None = getattr(source, "health", None)
    if not source.is_active:
        return False
    if source.kind != DataConnection.Kind.BROKER or state is None or _is_waiting(state):
        return True
    begins = state.last_contact_at is None and not state.error_code
    return begins or _delivers_partly(state, now)


def _is_waiting(state: FollowedSource) -> bool:
    """Return whether a source that is followed, by its row of health, is idle since nothing is
    needed of it yet: that is no fault."""
    return not state.pairs and not state.error_code


def is_fully_visible(source: DataConnection, reader: User | None) -> bool:
    """Return whether a reader may read all of a source: operators, its owner, the system (None).

    To others the broker's own words may name its account, and its pairs are what others trade.
    """
    return reader is None or reader.is_operator or source.user_id == reader.pk


def source_status(
    source: DataConnection, now: datetime, *, reader: User | None = None
) -> SourceStatus:
    """Return how a source of `with_status` fares at `now`, the machine's time.

    reader: who does not see it whole hears neither its broker's own words nor its pairs.
    """
    last_price_at = getattr(source, "last_price_at", None)
    if not source.is_active:
        message = "It is switched off and tells nothing."
        return SourceStatus(
            "paused", "Switched off", message, f"Switch it on, or {_CHOOSE_ANOTHER}", last_price_at
        )
    if source.kind != DataConnection.Kind.BROKER:
        return _recorded_status(source, last_price_at, now)
    state: SourceHealth | None = getattr(source, "health", None)
    if state is not None and _is_waiting(state):
        message = "No pair is needed yet: it follows what your feeds signal, and what is open."
        return SourceStatus("pending", "Waits", message, "", last_price_at)
    if state is not None and state.error_code:
        return _failing_status(
            source, state, last_price_at, reader, in_part=_delivers_partly(state, now)
        )
    alive_at = state.last_contact_at if state else source.created_at
    if alive_at is None:
        return SourceStatus("pending", "Starts", "It is followed; nothing has been told yet.")
    if now - alive_at > STALE_AFTER:
        if not getattr(source, "is_used", True):
            message = "No account goes by it: it is followed as soon as one does."
            return SourceStatus("pending", "Not used", message, "", last_price_at)
        return _stale_status(source, state, last_price_at, now)
    if state is None:
        return SourceStatus("pending", "Starts", "A trading process takes it up within seconds.")
    return _delivering_status(state, last_price_at, is_whole=is_fully_visible(source, reader))


def _recorded_status(
    source: DataConnection, last_price_at: datetime | None, now: datetime
) -> SourceStatus:
    if last_price_at is None:
        return SourceStatus("attention", "Tells nothing", "No price has come in yet.", _RUN_PRICES)
    is_old = now - last_price_at > STALE_AFTER and source.kind != DataConnection.Kind.STATIC
    if not is_old:
        return SourceStatus("ok", "Tells", "", "", last_price_at)
    message = f"Its last price came in {_age_of(last_price_at, now)} ago."
    return SourceStatus(
        "attention", "Silent", message, f"{_RUN_PRICES} Or {_CHOOSE_ANOTHER}", last_price_at
    )


def _failing_status(
    source: DataConnection, state: SourceHealth, last_price_at: datetime | None,
    reader: User | None,
    *, in_part: bool,
) -> SourceStatus:  # fmt: skip
    """The broker's words are for who can mend it: they begin with the code's sentence, or say it
    better."""
    code, label = state.error_code, PARTIAL if in_part else "Tells nothing"
    remedy = _REMEDIES.get(code) or hint(code) or _RETRIED_AUTOMATICALLY
    account: Any = (
        source.broker_connection
    )  # None: another's account, which this reader may not see
    if code == Code.CONNECTION_INACTIVE and account is not None and account.archived_at:
        remedy = _CHOOSE_ANOTHER.capitalize()  # nobody switches it on again
    if is_fully_visible(source, reader):
        message = state.error or sentence(code)
        stop = "." if message[-1:].isalnum() else ""
        return SourceStatus("attention", label, f"{message}{stop}", remedy, last_price_at)
    message = f"An account of the operators tells these prices. {sentence(code)}"
    if code not in _TEMPORARY:
        remedy = f"Ask the operators, or {_CHOOSE_ANOTHER}"
    return SourceStatus("attention", label, message, remedy, last_price_at)


def _stale_status(
    source: DataConnection,
    state: SourceHealth | None,
    last_price_at: datetime | None,
    now: datetime,
) -> SourceStatus:
    alive_at = state.last_contact_at if state else None
    message = (
        f"Nothing was heard of it for {_age_of(alive_at, now)}."
        if alive_at
        else "Nobody follows it yet."
    )
    account: Any = (
        source.broker_connection
    )  # None: another's account, which this reader may not see
    remedy = (missing_worker_hint(account) if account else "") or _RUN_PRICES
    return SourceStatus(
        "attention", "Silent" if alive_at else "Not followed", message, remedy, last_price_at
    )


def _delivering_status(
    state: SourceHealth, last_price_at: datetime | None, *, is_whole: bool
) -> SourceStatus:
    if state.missing:
        message = (
            f"No usable price of {join_first(state.missing, _MAX_LISTED)}."
            if is_whole
            else _SOME_PAIRS_MISSING
        )
        remedy = _CHECK_LISTING if is_whole else f"Ask the operators, or {_CHOOSE_ANOTHER}"
        return SourceStatus("attention", PARTIAL, message, remedy, last_price_at)
    message = f"Follows {join_first(state.pairs, _MAX_LISTED)}." if is_whole else ""
    return SourceStatus("ok", "Tells", message, "", last_price_at)


def _delivers_partly(state: SourceHealth, now: datetime) -> bool:
    is_there = state.last_contact_at is not None and now - state.last_contact_at <= STALE_AFTER
    return is_there and len(state.missing) < len(state.pairs)


def _age_of(at: datetime, now: datetime) -> str:
    return age((now - at).total_seconds())
