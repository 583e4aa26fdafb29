"""Convert IBKR's values to ours. Pure: no socket, no clock.

ib_async reads numbers as floats; their `str` has the digits that were sent, up to 15.
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ib_async.contract import Contract, ContractDetails

from brokers.ibkr.contracts import LEVERAGE
from brokers.ibkr.order_records import ENTRY, Fill, Record
from brokers.price_rounding import PriceGrid
from brokers.trading_hours import TradingHours, read_sessions
from brokers.types import (
    AccountState,
    BrokerPosition,
    Instrument,
    OrderType,
    PositionMode,
    ReportKind,
    Side,
    TimeInForce,
    WhatIf,
)
from common.currencies import pip_of_quote
from common.reason_codes import Code

OUR_REF = re.compile(r"([a-z0-9]{4,18})(?::(sl|tp))?")
EXEC_ID = re.compile(r"(.+)\.(\d+)")
ORDER_TYPES = {
    "MKT": OrderType.MARKET,
    "LMT": OrderType.LIMIT,
    "STP": OrderType.STOP,
    "STP LMT": OrderType.STOP_LIMIT,
    "TRAIL": OrderType.TRAILING_STOP,
}
TIMES_IN_FORCE = {one.value: one for one in TimeInForce}
WORKING = frozenset({"PreSubmitted", "Submitted", "PendingCancel", "Filled"})
ALIVE = frozenset({"PreSubmitted", "Submitted"})
CANCELLED = frozenset({"Cancelled", "ApiCancelled"})
GOOD_TILL_DATE = "%Y%m%d-%H:%M:%S"  # with a hyphen the time is UTC
IMMEDIATE = frozenset({TimeInForce.IOC, TimeInForce.FOK})
UNSET = Decimal(10) ** 38
"""At and above it a number is none: IBKR writes the largest double, or 2 to the 127 less 1."""
NO_LIMIT = Decimal(10) ** 9  # IBKR states no maximum


def to_decimal(value: Any) -> Decimal | None:
    """Read a number; None if IBKR states none. Raises ValueError, ArithmeticError."""
    if value in (None, ""):
        return None
    number = Decimal(str(value))
    if not number.is_finite():
        raise ValueError(value)
    return number if abs(number) < UNSET else None


def price(value: Any) -> Decimal | None:
    """Read a price; None for 0."""
    return to_decimal(value) or None


def encode_number(number: Decimal) -> str:
    """Write a number without an exponent and without trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_order_ref(ref: str) -> tuple[str, str] | None:
    """Return client order id and leg of an `orderRef`; None if it is not one of ours."""
    found = OUR_REF.fullmatch(ref)
    return (found[1], found[2] or ENTRY) if found else None


def order_key(client_id: int, order_id: int, perm_id: int) -> tuple[int, int]:
    """Return a key that only this order of the gateway has; ib_async's is the same.

    IBKR gives a new order its permId later: until then it is 0. What was entered in TWS has no
    orderId.
    """
    return (client_id, order_id) if order_id > 0 else (-1, perm_id)


def multiplier_of(contract: Contract) -> Decimal:
    """Return the base units in one unit of IBKR's: a future's multiplier, else 1."""
    if contract.secType != "FUT":
        return Decimal(1)
    return to_decimal(contract.multiplier) or Decimal(1)


def fill_of(execution: Any, multiplier: Decimal) -> Fill:
    """Read an execution. Raises ValueError.

    The last part of its id is the version of the same execution ("...01", a correction "...02").
    """
    parts = EXEC_ID.fullmatch(execution.execId)
    quantity, price = to_decimal(execution.shares), to_decimal(execution.price)
    if not execution.execId or quantity is None or price is None or quantity < 0:
        raise ValueError(execution.execId)
    return Fill(
        broker_fill_id=parts[1] if parts else execution.execId,
        correction=max(1, int(parts[2])) if parts else 1,
        quantity=quantity * multiplier,
        price=price,
        time=execution.time.astimezone(UTC),
    )


def expiry_of(text: str) -> datetime | None:
    """Read `goodTillDate`; None for an order whose end was written in another way than ours."""
    with suppress(ValueError):
        return datetime.strptime(f"{text}+0000", f"{GOOD_TILL_DATE}%z")
    return None


def completed_at(text: str) -> datetime | None:
    """Read `completedTime`: our own form in UTC, or a local time with the name of its zone.

    None if it is empty or written in another way.
    """
    if (in_utc := expiry_of(text)) is not None:
        return in_utc
    date, _, rest = text.partition(" ")
    clock, _, zone = rest.strip().partition(" ")
    with suppress(ValueError, ZoneInfoNotFoundError):
        local = datetime.strptime(f"{date} {clock}", "%Y%m%d %H:%M:%S")  # noqa: DTZ007  # zone below
        return local.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) if zone else None
    return None


def execution_side(text: str) -> Side:
    """Read an execution's side: BOT or SLD."""
    return Side.BUY if text in ("BOT", "BUY") else Side.SELL


def update_from_order(record: Record, contract: Contract, order: Any, multiplier: Decimal) -> None:
    """Update a record from an open or completed order."""
    record.perm_id = order.permId or record.perm_id
    record.con_id = contract.conId or record.con_id
    record.multiplier = multiplier
    record.side = Side.SELL if order.action.startswith("S") else Side.BUY
    record.order_type = ORDER_TYPES.get(order.orderType)
    record.time_in_force = TIMES_IN_FORCE.get(order.tif, TimeInForce.DAY)
    if record.time_in_force is TimeInForce.GTD:
        record.expires_at = record.expires_at or expiry_of(order.goodTillDate)
    record.quantity = (
        to_decimal(order.totalQuantity) or Decimal(0)
    ) * multiplier or record.quantity
    kind = record.order_type or OrderType.MARKET
    if kind.has_limit_price:
        record.limit_price = price(order.lmtPrice)
    if kind.has_stop_price:
        record.stop_price = price(order.auxPrice)
    if kind is OrderType.TRAILING_STOP:  # others' may follow by percent, without a distance
        record.trail_distance = price(order.auxPrice)
        record.stop_price = price(order.trailStopPrice) or record.stop_price
    record.oca_group = order.ocaGroup or record.oca_group
    record.parent_id = order.parentId or record.parent_id


def update_from_status(record: Record, status: str, now: datetime | None = None) -> None:
    """Update a record by IBKR's status. An order that has ended stays so, but for one that TWS
    seemed to refuse: a person may release in TWS what its precautions hold back.

    now: to recognise a GTD order that ended by its expiry, since IBKR reports it as cancelled.
    """
    record.status = status
    if status in WORKING:
        record.accepted = True
        record.in_doubt = False
    elif status == "Inactive":  # rejected or waiting: look it up
        record.in_doubt = record.in_doubt or record.live
    if status in ALIVE and record.was_refused:
        record.ended, record.code, record.detail = None, None, ""
    if record.ended is not None:
        return
    if status == "Filled":
        record.ended = ReportKind.FILLED
    elif status in CANCELLED:
        if record.withdrawn:
            record.ended = record.end_if_refused
        elif record.time_in_force in IMMEDIATE and not record.cancelling:
            record.ended, record.code = ReportKind.EXPIRED, Code.NO_PRICE_WITHIN_LIMIT
        elif _has_expired(record, now):
            record.ended, record.code = ReportKind.EXPIRED, Code.TIME_IN_FORCE_ENDED
        else:
            record.ended = ReportKind.CANCELLED


def _has_expired(record: Record, now: datetime | None) -> bool:
    if record.cancelling or record.expires_at is None or now is None:
        return False
    return now >= record.expires_at.replace(microsecond=0)  # IBKR has whole seconds


def update_from_completed(
    record: Record, state: Any, filled: Decimal | None, now: datetime | None = None
) -> None:
    """Update a record from IBKR's list of ended orders. filled: base units.

    The list says when an order ended, which may be long before now. What is inactive in it was
    refused, perhaps after a part of it was executed.
    """
    record.detail = record.detail or state.completedStatus
    record.filled = max(record.filled, filled or Decimal(0))
    if state.status == "Inactive" and record.live:
        record.ended = record.end_if_refused
        record.code = Code.REJECTED_BY_BROKER
        record.in_doubt = False
    else:
        update_from_status(record, state.status, completed_at(state.completedTime) or now)


def price_grid(increments: Iterable[Any]) -> PriceGrid:
    """Read a market rule: `lowEdge` and `increment` of each step. Raises ValueError."""
    steps = sorted(
        (to_decimal(one.lowEdge) or Decimal(0), to_decimal(one.increment) or Decimal(0))
        for one in increments
    )
    if not steps or any(step <= 0 for _, step in steps):
        raise ValueError(f"no price steps: {steps}")
    return PriceGrid(tuple(steps))


def size_step(details: Any, settings: Mapping[str, Any]) -> Decimal:
    """Return the step of a contract's order sizes, in IBKR's units.

    `sizeIncrement` of a share is what IBKR trades itself: most accounts may not order fractions
    through the API (10243), whatever it is.
    """
    step = to_decimal(details.sizeIncrement) or Decimal(1)
    if details.contract.secType == "STK" and not settings.get("fractional_shares"):
        return max(step, Decimal(1))
    return step


def instrument(
    symbol: str,
    details: ContractDetails,
    settings: Mapping[str, Any],
    grid: PriceGrid | None = None,
) -> Instrument:
    """Read an instrument. grid: its market rule. Raises ValueError."""
    contract = details.contract
    assert contract is not None
    tick = to_decimal(details.minTick)
    if not tick:
        raise ValueError(f"{symbol}: no minTick")
    units = multiplier_of(contract)
    step = size_step(details, settings)
    smallest = max(to_decimal(details.minSize) or step, step)
    is_pair = contract.secType == "CASH"
    pip = pip_of_quote(contract.currency) if is_pair else tick
    base = contract.symbol if contract.secType != "FUT" else symbol.replace("/", "")
    rates = settings.get("margin_rates") or {}
    usual = LEVERAGE.get(contract.secType, 0)
    if contract.secType == "STK" and settings.get("cash_account"):
        usual = Decimal(1)
    return Instrument(
        symbol=symbol,
        pair=f"{base}/{contract.currency}",
        digits=max(0, -int(tick.normalize().as_tuple().exponent)),
        pip=pip,
        quantity_min=smallest * units,
        quantity_step=step * units,
        quantity_max=NO_LIMIT,
        contract_size=units,
        tick=tick,
        margin_rate=Decimal(str(rates.get(symbol, usual))),
        exchange=contract.primaryExchange or contract.exchange,
        hours=_hours(details, settings),
        price_steps=grid.steps if grid else (),
    )


def _hours(details: ContractDetails, settings: Mapping[str, Any]) -> TradingHours | None:
    """Return when orders execute: also outside of regular hours if the account allows it."""
    outside = bool(settings.get("outside_rth", False))
    sessions = details.tradingHours if outside else details.liquidHours
    return read_sessions(sessions, details.timeZoneId)


def position(
    symbol: str, contract: Contract, quantity: Decimal, average_cost: Decimal
) -> BrokerPosition:
    """Read a position. IBKR states a future's average cost for a whole contract."""
    units = multiplier_of(contract)
    return BrokerPosition(
        broker_position_id=str(contract.conId),
        symbol=symbol,
        side=Side.BUY if quantity > 0 else Side.SELL,
        quantity=abs(quantity) * units,
        entry_price=average_cost / units,
    )


def account_state(
    account: str,
    values: Mapping[str, tuple[str, str]],
    now: datetime,
    *,
    allowed: bool,
    settled_only: bool = False,
) -> AccountState:
    """Read the account's values, each (value, currency) by tag. Raises ValueError, KeyError.

    settled_only: what is sold can be spent again when it is settled, not before.
    """

    def amount(tag: str, default: str | None = None) -> Decimal:
        value = values[tag][0] if default is None else values.get(tag, (default, ""))[0]
        number = to_decimal(value)
        if number is None and default is not None:  # it is there, and IBKR states none
            number = to_decimal(default)
        if number is None:
            raise ValueError(tag)
        return number

    equity = amount("NetLiquidation")
    used = amount("InitMarginReq", "0")
    free = amount("AvailableFunds", encode_number(equity - used))
    if settled_only:
        free = min(free, amount("SettledCash", encode_number(free)))
    return AccountState(
        account=account,
        currency=values["NetLiquidation"][1],
        balance=equity - amount("UnrealizedPnL", "0"),
        equity=equity,
        margin_used=used,
        free_margin=free,
        leverage=Decimal(1),  # margins come from each instrument's rate
        position_mode=PositionMode.NETTING,
        time=now,
        trading_allowed=allowed,
        demo=is_paper(account),
    )


def exchange_rates(values: Iterable[tuple[str, str, str, str]]) -> dict[str, Decimal]:
    """Read the rate of each currency in the account's own; without one that cannot be read."""
    rates: dict[str, Decimal] = {}
    for tag, value, currency, _ in values:
        if tag != "ExchangeRate":
            continue
        with suppress(ValueError, ArithmeticError):
            rates[currency] = to_decimal(value) or Decimal(0)
    return {currency: rate for currency, rate in rates.items() if rate}


def what_if(state: Any, currency: str, rates: Mapping[str, Decimal]) -> WhatIf:
    """Read TWS's what-if answer: margins in the account's currency, the commission in its own.

    rates: of each currency in the account's. Raises ValueError if the answer has no margin.
    """
    initial = to_decimal(state.initMarginChange)
    if initial is None:
        raise ValueError(state.warningText or "no margin in the answer")
    commission, rate = to_decimal(state.commission), Decimal(1)
    if state.commissionCurrency not in ("", currency):
        rate = rates.get(state.commissionCurrency, Decimal(0))
    return WhatIf(
        initial_margin=initial,
        maintenance_margin=to_decimal(state.maintMarginChange),
        commission=commission * rate if commission is not None and rate else None,
        currency=currency,
    )


def is_paper(account: str) -> bool:
    """Whether it is a paper account: its number begins with DU (advisors': DF)."""
    return account.startswith(("DU", "DF"))
