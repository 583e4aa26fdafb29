"""The sample order of an account: the smallest market order that its broker takes, closed at once.

It shows that the whole way works, from a publication to a fill, before a feed's signal needs it.
So it takes that way: a private feed that only this account takes, a published signal, its order
row as the job, claim and guard. It is placed on paper and demo accounts only, and one at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from common.clocks import market_now
from common.errors import ConflictError, InvalidInputError
from common.money import ceil_to_step
from common.permissions import Right
from common.reason_codes import Code
from connections.models import (
    AccountSnapshot,
    ConnectionHealth,
    ExecutionConnection,
    Instrument,
    Subscription,
)
from connections.selectors import is_demo
from connections.services import lock_connection, subscribe
from execution import services, tasks
from execution.cancels import cancel_orders
from execution.models import Order, Status
from execution.signal_stages import STAGES
from execution.submission.rows import QUOTE_MAX_AGE_SECONDS
from positions.models import ExecutionPosition
from prices.selectors import is_stale, latest
from signals.feeds.services import SAMPLE_FEED, create_feed, update_feed
from signals.models import Direction, Feed, Origin, Signal
from signals.publishing.ingest import save_draft
from signals.reading.draft import SignalDraft
from signals.services import publish
from users.models import User

PREFERRED = (
    "EUR/USD", "BTC/USD", "BTC/USDT", "BTC/USDC", "ETH/USD", "ETH/USDT", "GBP/USD", "XAU/USD",
)  # fmt: skip
QUOTE_AGE = timedelta(seconds=QUOTE_MAX_AGE_SECONDS)
CLOSABLE = Decimal("1.02")  # where an exit has a minimum, a fee in the coin must not go below it
WORTH = Decimal("1.1")  # of an order: the price may fall meanwhile
CLOSE_AFTER_SECONDS = 60


class Market(NamedTuple):
    """What a sample order trades. quantity: base units, the least that can be closed again."""

    pair: str
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Step:
    """One step. ms: since the publication; None: not reached."""

    key: str
    name: str
    text: str
    at: datetime | None
    ms: int | None


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample order. exit: the one that closes it; None: none was requested yet."""

    signal: Signal
    order: Order
    position: ExecutionPosition | None
    exit: Order | None

    @property
    def is_open(self) -> bool:
        """Whether something of it may still fill, or is open."""
        is_held = self.position is not None and self.position.is_open
        return is_held or self.order.done_at is None

    @property
    def is_closing(self) -> bool:
        """Whether its close was requested and has not ended."""
        is_requested = bool(self.order.pending_action)  # what it still fills is closed
        return is_requested or (self.exit is not None and self.exit.done_at is None)

    @property
    def may_close(self) -> bool:
        """Whether closing it would do something."""
        return self.is_open and not self.is_closing

    @property
    def has_failed(self) -> bool:
        """Whether it ended without a fill."""
        return self.order.done_at is not None and not self.order.filled_quantity

    @property
    def state(self) -> str:
        """PLACED, OPEN, CLOSING, CLOSED or NOT_FILLED."""
        if self.has_failed:
            return "NOT_FILLED"
        if not self.is_open:
            return "CLOSED"
        if self.is_closing:
            return "CLOSING"
        return "PLACED" if self.order.done_at is None else "OPEN"

    @property
    def steps(self) -> Sequence[Step]:
        """Its steps in order, reached or not, each with its time since the publication."""
        start, found = self.order.created_at, [*_steps_of(self.order, _ENTRY)]
        if self.exit is not None:
            found += _steps_of(self.exit, _EXIT)
        return [
            Step(key, name, text, at, None if at is None else _ms(at - start))
            for key, name, text, at in found
        ]


_TEXTS = {key: (name, text) for key, name, text in STAGES}
_ENTRY: Mapping[str, tuple[str, str]] = {
    "created_at": (
        "Published",
        "The signal is published, and this account’s order is written in the same transaction:"
        " the row is the job.",
    ),
    **{
        key: _TEXTS[key]
        for key in ("enqueued_at", "validated_at", "submitted_at", "acknowledged_at", "filled_at")
    },
}
_EXIT: Mapping[str, tuple[str, str]] = {
    "created_at": ("Close requested", "The exit is written, with its reserved quantity."),
    "submitted_at": ("Close submitted", "The exit’s intent is stored; it is sent after that."),
    "filled_at": ("Closed", "The exit is filled; nothing is open."),
}


def _steps_of(
    order: Order, names: Mapping[str, tuple[str, str]]
) -> Sequence[tuple[str, str, str, datetime | None]]:
    lead = "close_" if names is _EXIT else ""
    found = []
    for key, texts in names.items():
        at = getattr(order, key)
        if at is not None:  # `enqueued_at` is the start of the statement that writes the row
            at = max(at, order.created_at)
        found.append((f"{lead}{key.removesuffix('_at')}", *texts, at))
    return found


def _ms(span: timedelta) -> int:
    return round(span.total_seconds() * 1000)


def newest_sample(connection_id: UUID, *, request_id: str = "") -> Sample | None:
    """Return the newest sample order of an account; None: there was none.

    request_id: that of this form or request.
    """
    orders = Order.objects.entries().filter(
        connection=connection_id, signal__feed__slug=slug_of(connection_id)
    )
    if request_id:
        orders = orders.filter(signal__external_id=_external_id(request_id))
    order = orders.select_related("signal").order_by("-pk").first()
    return None if order is None or order.signal is None else _sample(order, order.signal)


def _external_id(request_id: str) -> str:
    return f"sample-{request_id}"


def _sample(order: Order, signal: Signal) -> Sample:
    position = ExecutionPosition.objects.filter(
        connection=order.connection_id, signal=signal
    ).first()
    exit = None
    if position is not None:
        exit = Order.objects.filter(position=position).order_by("-pk").first()
    return Sample(signal, order, position, exit)


def slug_of(connection_id: UUID) -> str:
    """Return the slug of the feed of an account's sample orders."""
    return f"{SAMPLE_FEED}{connection_id.hex}"


@transaction.atomic
def place_sample(
    connection_id: UUID,
    *,
    by: User,
    pair: str = "",
    request_id: str = "",
    close_after_seconds: int | None = None,
) -> tuple[Sample, bool]:
    """Place the sample order of an account; return it, and whether it is new.

    While one is open, that one is returned: it is never placed twice. request_id: of the form or
    the request, for the same after it was closed. pair: empty: the first of PREFERRED that its
    broker lists and whose market is open. close_after_seconds: closes it so long after its fill.

    Raises ConflictError SAMPLE_NEEDS_DEMO, SAMPLE_MARKET_CLOSED, QUOTE_MISSING, QUOTE_STALE,
    INSTRUMENTS_NOT_READ, and the code of what keeps the account from trading, such as
    CONNECTION_PAUSED or TRADING_HALTED; then nothing is written. InvalidInputError
    SYMBOL_NOT_AT_BROKER; NotAllowedError.
    """
    connection = lock_connection(connection_id, by, right=Right.TRADE)  # one at a time
    read = AccountSnapshot.objects.filter(connection=connection_id).first()
    health = ConnectionHealth.objects.filter(pk=connection_id).first()
    if not is_demo(connection, read, health):
        raise ConflictError(Code.SAMPLE_NEEDS_DEMO)
    found = newest_sample(connection_id)
    if found is not None and found.is_open:
        return found, False
    if request_id and (before := newest_sample(connection_id, request_id=request_id)) is not None:
        return before, False
    market = sample_market(connection, pair)
    feed = _feed_of(connection)
    draft = SignalDraft(
        pair=market.pair,
        direction=Direction.BUY,
        external_id=request_id and _external_id(request_id),
        close_after_seconds=close_after_seconds,
        note="Sample order",
    )
    person = _person(by)
    signal, _ = save_draft(feed, draft, origin=Origin.HAND, by=person, may_repeat=True)
    publish(signal.pk, by=person)
    order = _only_order(signal, connection, feed)
    Order.objects.filter(pk=order.pk).update(requested_quantity=market.quantity)
    sample = newest_sample(connection_id)
    assert sample is not None  # written above
    return sample, True


def _person(by: User) -> User:
    """Return the user without the scopes of an API key: `trade` was checked, and is enough here."""
    return User.objects.get(pk=by.pk)


def _only_order(signal: Signal, connection: ExecutionConnection, feed: Feed) -> Order:
    """Return the order that a publication wrote. Raises ConflictError if there are others, or if
    the account may not trade: the publication is then rolled back."""
    signal.refresh_from_db(fields=["candidate_count"])
    if signal.candidate_count != 1:  # counted over all users' accounts
        raise ConflictError(
            Code.STATE_CONFLICT,
            f"Other accounts take the feed {feed.slug!r} of its sample orders. End their"
            " subscriptions first: a sample order is for one account.",
        )
    order = Order.objects.get(signal=signal, connection=connection)
    if order.status == Status.SKIPPED:
        raise ConflictError(Code[order.reason], order.detail)
    return order


def close_sample(connection_id: UUID, *, by: User) -> Sample:
    """Close the open sample order of an account; one that has not filled is cancelled, and what it
    fills before that is closed.

    Raises ConflictError SAMPLE_NOT_OPEN; NotAllowedError.
    """
    with transaction.atomic():
        lock_connection(connection_id, by, right=Right.TRADE, archived_too=True)
        sample = newest_sample(connection_id)
        if sample is None or not sample.is_open:
            raise ConflictError(Code.SAMPLE_NOT_OPEN)
        if sample.order.done_at is None:
            cancel_orders([sample.order.pk], by=by, then_close=True)
            tasks.enqueue_pending_actions_on_commit()
        if sample.position is not None and sample.position.is_open:
            exits = services.close_position(sample.position.pk, by=by)
            tasks.enqueue_on_commit(exits, queue=tasks.EXITS)
        closed = newest_sample(connection_id)
    assert closed is not None  # only added to
    return closed


def _feed_of(connection: ExecutionConnection) -> Feed:
    """Return the feed of an account's sample orders, made on first use, with its subscription.

    Nothing of it is a person's choice, so the system makes both: the right to publish was checked.
    """
    slug, owner = slug_of(connection.pk), connection.user or connection.admin
    assert owner is not None  # the constraint of exactly one owner
    feed = Feed.objects.filter(slug=slug, owner=owner).first()
    if feed is not None and feed.archived_at is not None:
        feed = update_feed(feed.pk, by=None, archived_at=None)
    if feed is None:
        feed = create_feed(
            owner=owner, name=f"Sample orders: {connection.name}"[:200], slug=slug,
            description="Sample orders of one account, placed by its button.",
            is_public=False, is_approved=True, approved_by_owner=True, for_samples=True,
        )  # fmt: skip
    taken = Subscription.objects.filter(connection=connection, feed=feed, archived_at=None)
    if not taken.exists():
        subscribe(connection_id=connection.pk, feed_id=feed.pk, by=None, demo_only=True)
    elif taken.filter(demo_only=False).exists():
        raise ConflictError(
            Code.STATE_CONFLICT,
            f"The account takes the feed {feed.slug!r} of its sample orders by a subscription of"
            " your own. End that first.",
        )
    return feed


def sample_market(connection: ExecutionConnection, pair: str = "") -> Market:
    """Return what a sample order of an account would trade now. Raises as `place_sample` does."""
    listed = {
        one.pair: one
        for one in Instrument.objects.filter(
            book=connection.instrument_book or None, is_preferred=True
        )
    }
    if not listed:
        raise ConflictError(Code.INSTRUMENTS_NOT_READ)
    if pair and pair not in listed:
        raise InvalidInputError(
            Code.SYMBOL_NOT_AT_BROKER, f"The account does not list {pair}.", field="symbol"
        )
    if connection.data_connection_id is None:
        raise ConflictError(Code.NO_DATA_CONNECTION)
    quotes = latest(connection.data_connection_id, None if not pair else [pair])
    wanted = [pair] if pair else [*PREFERRED, *sorted(quotes)]
    found = [listed[name] for name in dict.fromkeys(wanted) if name in listed and name in quotes]
    if not found:
        raise ConflictError(Code.QUOTE_MISSING, pair)
    open_ones = [one for one in found if one.market.is_open is not False]
    if not open_ones:
        raise _closed(found)
    stale = partial(is_stale, now=market_now(), max_age=QUOTE_AGE)
    fresh = [one for one in open_ones if not stale(quotes[one.pair])]
    if not fresh:
        raise ConflictError(Code.QUOTE_STALE, open_ones[0].pair)
    chosen = fresh[0]
    return Market(chosen.pair, smallest(chosen, quotes[chosen.pair].bid))


def smallest(instrument: Instrument, bid: Decimal) -> Decimal:
    """Return the smallest quantity that can be bought and closed again, in base units. Pure."""
    least = [instrument.quantity_min, instrument.close_min * CLOSABLE]
    if bid > 0:
        worth = max(instrument.worth_min, instrument.close_worth_min)
        least.append(worth * WORTH / bid)
    return ceil_to_step(max(least), instrument.quantity_step)


def _closed(found: Sequence[Instrument]) -> ConflictError:
    """Return that all markets are closed, with which opens next."""
    opening = [(one.market.opens_at, one.pair) for one in found if one.market.opens_at]
    if not opening:
        return ConflictError(Code.SAMPLE_MARKET_CLOSED, found[0].pair)
    at, pair = min(opening)
    return ConflictError(
        Code.SAMPLE_MARKET_CLOSED, f"{pair} opens at {at:%H:%M} UTC on {at:%-d %B}."
    )
