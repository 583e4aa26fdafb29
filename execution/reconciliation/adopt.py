"""Adopt what a broker holds and we have no row of, so that it becomes a trade like any other.

It gets a published signal in the owner's private feed "Adopted trades", with this account as the
only candidate, then an entry order, and a position with the entry's fill. From then on all that
works on trades works on this one.
"""

import secrets
from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings

from brokers.types import Execution, HeldLevels, OrderReport, ReportKind, Side
from common.clocks import market_now
from common.db.sql import rows, run
from common.errors import ConflictError, InvalidInputError
from common.money import plain
from common.reason_codes import Code
from connections.models import AccountSnapshot, ExecutionConnection, Instrument
from execution.base.archived_orders import archived_orders
from execution.ids import all_attempts, new_client_order_id
from execution.models import DriftItem, Order
from execution.reconciliation.evidence import BrokerEvidence
from execution.reports.apply import apply_reports
from prices.selectors import conversion_rate, latest
from signals.models import TRIGGERED, Approval, Feed, Origin, Signal
from users.models import User

FEED_NAME = "Adopted trades"


@dataclass(frozen=True, slots=True)
class Levels:
    """Levels for an adopted trade, as prices. None: keep the broker's level, if there is one."""

    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None


INSERT_ORDER = """
INSERT INTO execution_order (signal_id, connection_id, leg, pair, symbol, side, order_type,
  time_in_force, quantity, limit_price, stop_price, trail_distance, stop_loss, take_profit, pip,
  conversion_rate,
  client_order_id, broker_order_id, attempt, status, reason, pending_action, due_at, submitted_at,
  answer_by, lookup_after)
VALUES (%(signal)s, %(connection)s, 'entry', %(pair)s, %(symbol)s, %(side)s, %(order_type)s, 'GTC',
  %(quantity)s, %(limit_price)s, %(stop_price)s, %(trail_distance)s, %(stop_loss)s,
  %(take_profit)s, %(pip)s, %(rate)s,
  %(client_order_id)s, %(broker_order_id)s, %(attempt)s,
  CASE WHEN %(is_ours)s THEN 'UNKNOWN' ELSE 'SUBMITTED' END, %(reason)s, %(pending_action)s,
  clock_timestamp(), clock_timestamp(), clock_timestamp(),
  CASE WHEN %(is_ours)s THEN clock_timestamp() END)
RETURNING id
"""

ORDERS_WITH_ID = "SELECT id FROM execution_order WHERE client_order_id = ANY(%s)"


def has_own_id(evidence: BrokerEvidence) -> bool:
    """Return whether an order with the evidence's id can be looked up as one of ours.

    Not if it is that of an order in the archive: its broker names it, and no row may have its id.
    """
    return evidence.is_ours and not archived_orders([evidence.client_order_id])


def adopt_position(
    item: DriftItem,
    evidence: BrokerEvidence,
    levels: Levels,
    *,
    by: User | None,
    pending_action: str = "",
) -> int | None:
    """Adopt what the broker holds; return the position's id, or None if a look-up must come first.

    An order with an id of ours is looked up at the broker next; pending_action CLOSE then ends it.
    For anything else the evidence is all we know, so its fill is inferred from it.

    Must run in a transaction that may write all tenants' rows. Raises ConflictError
    SYMBOL_NOT_AT_BROKER, NO_CONVERSION_RATE or STATE_CONFLICT; InvalidInputError STOP_WRONG_SIDE or
    TARGET_WRONG_SIDE.
    """
    connection = item.connection
    instrument = _instrument_of(connection, evidence)
    rate = _conversion_rate(connection, instrument.pair)
    signal = _create_signal(
        item, evidence, instrument.pair, _levels(connection, evidence, levels, instrument), by
    )
    order_id = _create_order(item, evidence, signal, instrument, rate, pending_action)
    if has_own_id(evidence):
        return None
    (order,) = rows("SELECT client_order_id FROM execution_order WHERE id = %s", (order_id,))
    apply_reports([confirmed_fill(item, evidence, order.client_order_id, how="adopted")])
    (position,) = rows(
        "SELECT id FROM positions_executionposition WHERE connection_id = %s AND signal_id = %s",
        (connection.pk, signal.pk),
    )
    return int(position.id)


def size_from_evidence(order: Order, evidence: BrokerEvidence) -> None:
    """Set symbol, quantity and levels of an entry that a restore ended before it was sized.

    Does nothing if the evidence is of another pair. Raises ConflictError NO_CONVERSION_RATE.
    """
    book = order.connection.instrument_book
    instrument = Instrument.objects.filter(
        book=book, symbol=evidence.symbol, pair=order.pair
    ).first()
    if instrument is None:
        return
    order.symbol, order.quantity, order.pip = evidence.symbol, evidence.quantity, instrument.pip
    order.stop_loss, order.take_profit = evidence.stop_loss, evidence.take_profit
    order.conversion_rate = _conversion_rate(order.connection, order.pair)
    if order.client_order_id is None:
        order.client_order_id = new_client_order_id(settings.FILLCAST_INSTALLATION_TAG)
        order.attempt = 0
    order.save(
        update_fields=[
            "symbol", "quantity", "pip", "stop_loss", "take_profit", "conversion_rate",
            "client_order_id", "attempt",
        ]
    )  # fmt: skip


def _instrument_of(connection: ExecutionConnection, evidence: BrokerEvidence) -> Instrument:
    listed = Instrument.objects.filter(book=connection.instrument_book, symbol=evidence.symbol)
    instrument = listed.first()
    if instrument is None:
        raise ConflictError(
            Code.SYMBOL_NOT_AT_BROKER, f"The broker does not list {evidence.symbol}."
        )
    return instrument


def _conversion_rate(connection: ExecutionConnection, pair: str) -> Decimal:
    snapshot = AccountSnapshot.objects.filter(connection=connection).first()
    source, quote_currency = connection.data_connection_id, pair.rpartition("/")[2]
    rate = None
    if snapshot is not None:
        quotes = latest(source) if source is not None else {}
        rate = conversion_rate(quotes, quote_currency, snapshot.currency)
    if rate is None:
        raise ConflictError(Code.NO_CONVERSION_RATE, f"{quote_currency} on this account")
    return rate


def _levels(
    connection: ExecutionConnection,
    evidence: BrokerEvidence,
    levels: Levels,
    instrument: Instrument,
) -> Levels:
    """Return the levels of the adopted trade; a new level must not close it at once."""
    chosen = Levels(
        levels.stop_loss or evidence.stop_loss, levels.take_profit or evidence.take_profit
    )
    sign = evidence.side.sign
    both = chosen.stop_loss and chosen.take_profit
    if both and (chosen.take_profit - chosen.stop_loss) * sign <= 0:  # type: ignore[operator]
        raise InvalidInputError(Code.STOP_WRONG_SIDE, field="stop_loss")
    source = connection.data_connection_id
    quote = latest(source, [instrument.pair]).get(instrument.pair) if source is not None else None
    if quote is not None:
        price = quote.bid if evidence.side is Side.BUY else quote.ask
        detail = f"The price is {plain(price)} and has passed the level."
        if levels.stop_loss and (price - levels.stop_loss) * sign <= 0:
            raise InvalidInputError(Code.STOP_WRONG_SIDE, detail, field="stop_loss")
        if levels.take_profit and (levels.take_profit - price) * sign <= 0:
            raise InvalidInputError(Code.TARGET_WRONG_SIDE, detail, field="take_profit")
    return chosen


def _create_signal(
    item: DriftItem, evidence: BrokerEvidence, pair: str, levels: Levels, by: User | None
) -> Signal:
    now = market_now()
    return Signal.objects.create(
        feed=_adopted_feed(item.connection),
        currency_pair=pair,
        direction=evidence.side.value,
        order_type=evidence.order_type,
        open_price=evidence.limit_price,
        stop_price=evidence.stop_price if evidence.order_type in TRIGGERED else None,
        trail_distance=evidence.trail_distance,
        sl=levels.stop_loss,
        target_prices=[levels.take_profit] if levels.take_profit else [],
        target_fractions=[Decimal(1)] if levels.take_profit else [],
        external_id=f"drift-{item.pk}",
        origin=Origin.DRIFT,
        note=f"Adopted from {item.connection.name}."[:500],
        created_by=by,
        approval=Approval.APPROVED,
        approved_by=by,
        approved_at=now,
        published_by=by,
        published_at=now,
        reaches_admins=False,
        owner_only=True,
        candidate_count=1,
    )


def _adopted_feed(connection: ExecutionConnection) -> Feed:
    """Return the owner's private feed of adopted trades; create it on first use.

    It is found by owner and name, never by slug: another tenant may use any slug.
    """
    own_feeds = Feed.objects.filter(owner_id=connection.owner_id, name=FEED_NAME, is_public=False)
    feed = own_feeds.filter(archived_at=None).order_by("pk").first()
    return feed or Feed.objects.create(
        slug=f"adopted-{connection.owner_id}-{secrets.token_hex(6)}",
        owner_id=connection.owner_id,
        name=FEED_NAME,
        description="Positions and orders opened at a broker by hand and adopted here.",
        is_public=False,
    )


def _create_order(
    item: DriftItem,
    evidence: BrokerEvidence,
    signal: Signal,
    instrument: Instrument,
    rate: Decimal,
    pending_action: str,
) -> int:
    is_ours = has_own_id(evidence)
    if is_ours and rows(ORDERS_WITH_ID, (all_attempts(evidence.client_order_id),)):
        raise ConflictError(Code.STATE_CONFLICT, "An order with this id exists now.")
    new_id = new_client_order_id(settings.FILLCAST_INSTALLATION_TAG)
    client_order_id = evidence.client_order_id if is_ours else new_id
    parameters = {
        "signal": signal.pk,
        "connection": item.connection_id,
        "pair": instrument.pair,
        "symbol": evidence.symbol,
        "side": evidence.side.value,
        "order_type": evidence.order_type,
        "quantity": evidence.quantity,
        "limit_price": evidence.limit_price,
        "stop_price": evidence.stop_price,
        "trail_distance": evidence.trail_distance,
        "stop_loss": evidence.stop_loss,
        "take_profit": evidence.take_profit,
        "pip": instrument.pip,
        "rate": rate,
        "client_order_id": client_order_id,
        "attempt": int(client_order_id[-1]),
        "broker_order_id": evidence.broker_order_id,
        "is_ours": is_ours,
        "reason": Code.DRIFT_DECIDED.value,
        "pending_action": pending_action if is_ours else "",
    }
    order_id = int(rows(INSERT_ORDER, parameters)[0].id)
    run(
        "INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status,"
        " detail) SELECT id, signal_id, connection_id, reason, status, %s FROM execution_order"
        " WHERE id = %s",
        (f"adopted from the broker, drift {item.pk}", order_id),
    )
    return order_id


def confirmed_fill(
    item: DriftItem, evidence: BrokerEvidence, client_order_id: str, *, how: str
) -> OrderReport:
    """Return the entry's fill that the broker's position proves, as a report.

    how: prefix of the fill's id, 'adopted' or 'linked'. Raises ConflictError
    DRIFT_ACTION_NOT_APPLICABLE if the broker states no entry price.
    """
    if evidence.price is None:
        raise ConflictError(
            Code.DRIFT_ACTION_NOT_APPLICABLE, "The broker states no entry price for it."
        )
    fill = Execution(
        broker_fill_id=f"{how}:{item.pk}",
        quantity=evidence.quantity,
        price=evidence.price,
        time=evidence.opened_at or market_now(),
        inferred=True,
    )
    return OrderReport(
        kind=ReportKind.FILLED,
        connection_id=str(item.connection_id),
        client_order_id=client_order_id,
        broker_position_id=evidence.broker_position_id,
        fills=(fill,),
        levels=HeldLevels(evidence.stop_loss, evidence.take_profit)
        if evidence.has_levels
        else None,
    )
