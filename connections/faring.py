"""How price sources fare: when each last told something, what is wrong, and what to do."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from django.db.models import BooleanField, DateTimeField, QuerySet
from django.db.models.expressions import RawSQL

from common.codes import Code
from common.shown import age, first_of, hint, sentence
from connections.models import DataConnection, ExecutionConnection, SourceHealth
from connections.selectors import waits_for
from connections.sources import is_used_sql
from users.models import User

IN_PART = "Tells in part"
SILENT_AFTER = timedelta(seconds=60)
_LAST_PRICE = """
(SELECT max(q.received_at) FROM prices_latestquote q
 WHERE q.data_connection_id = connections_dataconnection.id)
"""
_RUN_PRICES = "The operators' process `manage.py prices` must run."
_ANOTHER = "choose another price source for the accounts that use it."
_OF_SOME = "It has no usable price of some pairs."
_MANY = 5
_AGAIN = "It is tried again by itself."
_LISTED = "Look whether the broker lists and quotes that, and whether its market is open."
# Where a code's own hint is about an order, or sends its reader to where he is.
_TO_DO: dict[str, str] = {
    Code.CONNECTION_INACTIVE: f"Switch that account on, or {_ANOTHER}",
    Code.LANE_UNHELD: "It is followed as soon as one runs.",
    **dict.fromkeys((Code.HOST_AWAY, Code.NOT_CONNECTED, Code.REPLY_LOST, Code.SEND_DEADLINE),
                    _AGAIN),
    **dict.fromkeys((Code.QUOTE_MISSING, Code.QUOTE_STALE, Code.SYMBOL_NOT_AT_BROKER,
                     Code.UNKNOWN_SYMBOL_AT_BROKER), _LISTED),
}  # fmt: skip
_PASSES = frozenset({Code.MARKET_CLOSED, *(code for code in _TO_DO if _TO_DO[code] is _AGAIN)})


class Followed(Protocol):
    """What is asked of a row of `SourceHealth`, however it was read."""

    pairs: list[str]
    error_code: str


@dataclass(frozen=True, slots=True)
class Faring:
    """css, word: its state, with its shape. said: what is so, to_do: what helps; both may be empty.
    told_at: when its last price came in, by the machine's clock."""

    css: str
    word: str
    said: str = ""
    to_do: str = ""
    told_at: datetime | None = None

    @property
    def is_well(self) -> bool:
        """Whether nobody needs to do anything."""
        return self.css in ("ok", "pending")

    @property
    def words(self) -> str:
        return f"{self.said} {self.to_do}".strip()


def as_told(rows: QuerySet[DataConnection]) -> QuerySet[DataConnection]:
    """Add to sources what `faring` asks of each: its health, its account, its last price."""
    is_used = RawSQL(is_used_sql("connections_dataconnection.id"), [], output_field=BooleanField())
    last = RawSQL(_LAST_PRICE, [], output_field=DateTimeField())
    return (
        rows.select_related("user", "health", "told_by")
        .defer("told_by__sealed_credentials")
        .annotate(last_price_at=last, is_used=is_used)
    )


def source_of(connection: ExecutionConnection) -> DataConnection | None:
    """Return what an account goes by, as `as_told` has it; None also where who asks may not see
    it."""
    pk = connection.data_connection_id
    return None if pk is None else as_told(DataConnection.objects.filter(pk=pk)).first()


def tells(source: DataConnection, now: datetime) -> bool:
    """Return whether an account can go by a source now, by its row of health alone (no statement
    where that is selected, too). Recorded ones and those that just begin are taken to tell."""
    state: SourceHealth | None = getattr(source, "health", None)
    if not source.is_active:
        return False
    if source.kind != DataConnection.Kind.BROKER or state is None or _waits(state):
        return True
    begins = state.told_at is None and not state.error_code
    return begins or _tells_some(state, now)


def _waits(state: Followed) -> bool:
    """Return whether a source that is followed, by its row of health, is idle since nothing is
    needed of it yet: that is no fault."""
    return not state.pairs and not state.error_code


def is_seen_whole(source: DataConnection, reader: User | None) -> bool:
    """Return whether a reader may read all of a source: operators, its owner, the system (None).

    To others the broker's own words may name its account, and its pairs are what others trade.
    """
    return reader is None or reader.is_operator or source.user_id == reader.pk


def faring(source: DataConnection, now: datetime, *, reader: User | None = None) -> Faring:
    """Return how a source of `as_told` fares at `now`, the machine's time.

    reader: who does not see it whole hears neither its broker's own words nor its pairs.
    """
    told_at = getattr(source, "last_price_at", None)
    if not source.is_active:
        said = "It is switched off and tells nothing."
        return Faring("paused", "Switched off", said, f"Switch it on, or {_ANOTHER}", told_at)
    if source.kind != DataConnection.Kind.BROKER:
        return _recorded(source, told_at, now)
    state: SourceHealth | None = getattr(source, "health", None)
    if state is not None and _waits(state):
        said = "No pair is needed yet: it follows what your feeds signal, and what is open."
        return Faring("pending", "Waits", said, "", told_at)
    if state is not None and state.error_code:
        return _failing(source, state, told_at, reader, in_part=_tells_some(state, now))
    heard = state.told_at if state else source.created_at
    if heard is None:
        return Faring("pending", "Starts", "It is followed; nothing has been told yet.")
    if now - heard > SILENT_AFTER:
        if not getattr(source, "is_used", True):
            said = "No account goes by it: it is followed as soon as one does."
            return Faring("pending", "Not used", said, "", told_at)
        return _unheard(source, state, told_at, now)
    if state is None:
        return Faring("pending", "Starts", "A trading process takes it up within seconds.")
    return _heard(state, told_at, is_whole=is_seen_whole(source, reader))


def _recorded(source: DataConnection, told_at: datetime | None, now: datetime) -> Faring:
    if told_at is None:
        return Faring("attention", "Tells nothing", "No price has come in yet.", _RUN_PRICES)
    is_old = now - told_at > SILENT_AFTER and source.kind != DataConnection.Kind.STATIC
    if not is_old:
        return Faring("ok", "Tells", "", "", told_at)
    said = f"Its last price came in {_ago(told_at, now)} ago."
    return Faring("attention", "Silent", said, f"{_RUN_PRICES} Or {_ANOTHER}", told_at)


def _failing(
    source: DataConnection, state: SourceHealth, told_at: datetime | None, reader: User | None,
    *, in_part: bool,
) -> Faring:  # fmt: skip
    """The broker's words are for who can mend it: they begin with the code's sentence, or say it
    better."""
    code, word = state.error_code, IN_PART if in_part else "Tells nothing"
    to_do = _TO_DO.get(code) or hint(code) or _AGAIN
    teller: Any = source.told_by  # None: another's account, which this reader may not see
    if code == Code.CONNECTION_INACTIVE and teller is not None and teller.archived_at:
        to_do = _ANOTHER.capitalize()  # nobody switches it on again
    if is_seen_whole(source, reader):
        said = state.error or sentence(code)
        stop = "." if said[-1:].isalnum() else ""
        return Faring("attention", word, f"{said}{stop}", to_do, told_at)
    said = f"An account of the operators tells these prices. {sentence(code)}"
    if code not in _PASSES:
        to_do = f"Ask the operators, or {_ANOTHER}"
    return Faring("attention", word, said, to_do, told_at)


def _unheard(
    source: DataConnection, state: SourceHealth | None, told_at: datetime | None, now: datetime
) -> Faring:
    heard = state.told_at if state else None
    said = f"Nothing was heard of it for {_ago(heard, now)}." if heard else "Nobody follows it yet."
    teller: Any = source.told_by  # None: another's account, which this reader may not see
    to_do = (waits_for(teller) if teller else "") or _RUN_PRICES
    return Faring("attention", "Silent" if heard else "Not followed", said, to_do, told_at)


def _heard(state: SourceHealth, told_at: datetime | None, *, is_whole: bool) -> Faring:
    if state.missing:
        said = f"No usable price of {first_of(state.missing, _MANY)}." if is_whole else _OF_SOME
        to_do = _LISTED if is_whole else f"Ask the operators, or {_ANOTHER}"
        return Faring("attention", IN_PART, said, to_do, told_at)
    said = f"Follows {first_of(state.pairs, _MANY)}." if is_whole else ""
    return Faring("ok", "Tells", said, "", told_at)


def _tells_some(state: SourceHealth, now: datetime) -> bool:
    is_there = state.told_at is not None and now - state.told_at <= SILENT_AFTER
    return is_there and len(state.missing) < len(state.pairs)


def _ago(at: datetime, now: datetime) -> str:
    return age((now - at).total_seconds())
