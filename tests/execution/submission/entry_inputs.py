"""What a decision about an order reads, without a database: an account, a signal, a market.

Everything not named is as usual: 100 EUR/USD are bought at 1.1 on a dollar account that has 10,000,
with a preset without limits but those that every preset has.
"""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal as D
from typing import Any

from brokers.account_capabilities import Capabilities
from brokers.types import ExitSafety, OrderType, PositionMode, TimeInForce
from connections.entry_limits import EntryLimits
from execution.submission.evaluate import decide_entry
from execution.submission.outcomes import Decision, EvaluationContext
from execution.submission.recent import RecentRow
from execution.submission.risk import PortfolioExposure
from execution.submission.rows import (
    ExitRow,
    InstrumentRow,
    OrderRow,
    OwnerTerms,
    QuoteRow,
    SignalRow,
)
from execution.submission.signal_limits import SignalTotals
from signals.models import RiskCategory

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)  # a Wednesday
BOOK, SOURCE, FEED = "book", 1, 7
HUGE = D(10) ** 18
ORDER: dict[str, Any] = {
    **dict.fromkeys((*OrderRow._fields, *OwnerTerms._fields)),
    "id": 1, "status": "PENDING", "connection_id": "c", "signal_id": 1, "leg": "entry",
    "pair": "EUR/USD", "symbol": "", "side": "BUY", "order_type": "MARKET", "time_in_force": "GTC",
    "quantity": D(0), "attempt": 0, "send_retries": 0, "reason": "", "route_state": "",
    "is_due": True, "age": 0.0, "type": "fake", "account": "1", "exchange_name": "",
    "settings": {}, "identity": "", "owner_id": 1, "instrument_book": BOOK,
    "data_connection_id": SOURCE, "is_active": True, "is_paused": False, "broker_host": "",
    "lane": "", "aggregation_ms": 0, "priority": 4, "currency": "USD", "balance": D(10_000),
    "equity": D(10_000), "free_margin": D(10_000), "leverage": D(30), "position_mode": "HEDGING",
    "account_age": 0, "sizing_mode": "FIXED", "fixed_quantity": D(100),
    "small_risk_percent": D(1), "normal_risk_percent": D(2), "large_risk_percent": D(3),
    "allow_minimum_quantity": False, "multiplier": D(1), "small_multiplier": D("0.5"),
    "normal_multiplier": D(1), "large_multiplier": D(2),
    "own_allowed_symbols": [], "own_trading_sessions": [],
    "trading_day_zone": "UTC", "trading_day_start": time(0),
    "max_signal_age_seconds": 600, "broker_holds_stops": True, "subscription_multiplier": D(1),
    "subscription_code": "",
    "symbol_map": {}, "signal_pair": "EUR/USD", "is_held_leg": False, "other_leg_fired": False,
    "oco_fired": False,
    "awaits_condition": False, "has_exit_condition": False,
}  # fmt: skip
LIMITS = EntryLimits(
    max_level_deviation_percent=None, max_open_positions=1000, max_leverage=HUGE,
    max_portfolio_risk_percent=HUGE,
)  # fmt: skip
SIGNAL: dict[str, Any] = {
    **dict.fromkeys(SignalRow._fields),
    "id": 1, "feed_id": FEED, "direction": "BUY", "order_type": "MARKET", "published_at": NOW,
    "max_slippage_unit": "", "max_spread_unit": "", "risk_category": RiskCategory.NORMAL.value,
    "provider_currency": "", "max_signal_currency": "", "target_prices": [],
    "target_fractions": [], "is_closed": False, "execution_style": "", "catch_up": "",
    "at_end": "",
}  # fmt: skip
INSTRUMENT: dict[str, Any] = {
    "book": BOOK, "pair": "EUR/USD", "symbol": "EURUSD", "is_preferred": True, "rivals": "",
    "digits": 5, "pip": D("0.0001"), "quantity_min": D(10), "quantity_step": D(10),
    "quantity_max": D(1_000_000), "stops_level": D(0), "margin_rate": D(0), "close_min": D(0),
    "close_worth_min": D(0), "tick": D("0.00001"), "hours": None,
}  # fmt: skip
RECENT: dict[str, Any] = {
    "id": 1, "sent_in_minute": 0, "day_notional": D(0), "day_volume": D(0), "net_base": D(0),
    "net_quote": D(0), "last_quantities": None, "same_trade_age": None,
}  # fmt: skip
POSITION: dict[str, Any] = {
    "order_id": 1, "quantity": D(100), "opened_quantity": D(100), "broker_position_id": "t1",
    "entry_price": D("1.1"), "pip": D("0.0001"), "conversion_rate": D(1),
    "protection_suspended": False, "broker_quantity": D(100), "is_protected": False,
    "is_read": True, "is_known": True, "broker_quantity_is_shared": False, "compared_for": None,
    "needs_comparison": False, "has_exit_ahead": False, "shares_broker_position": False,
    "entry_client_order_id": "e", "entry_sent_as": "e", "closable": D(100),
}  # fmt: skip


def order_row(**fields: Any) -> OrderRow:
    """Return the usual entry with these differences, those of its terms and limits among them."""
    limits = {name: fields.pop(name) for name in EntryLimits._fields if name in fields}
    given = {**ORDER, "limits": LIMITS._replace(**limits), **fields}
    terms = OwnerTerms(**{name: given.pop(name) for name in OwnerTerms._fields})
    return OrderRow(**{**given, "terms": terms})


def signal_row(**fields: Any) -> SignalRow:
    return SignalRow(**SIGNAL | fields)


def instrument_row(**fields: Any) -> InstrumentRow:
    return InstrumentRow(**INSTRUMENT | fields)


def recent_row(**fields: Any) -> RecentRow:
    return RecentRow(**RECENT | fields)


def exit_row(**fields: Any) -> ExitRow:
    return ExitRow(**POSITION | fields)


def quote_row(bid: D | str = "1.0999", ask: D | str = "1.1", **fields: Any) -> QuoteRow:
    usual: dict[str, Any] = {
        "data_connection_id": SOURCE, "symbol": "EUR/USD", "time": NOW, "age": 0,
    }  # fmt: skip
    return QuoteRow(**{**usual, "bid": D(bid), "ask": D(ask), **fields})


def capabilities(**fields: Any) -> Capabilities:
    """Return those of an account that takes every order and limits an exit by its ticket."""
    usual: dict[str, Any] = {
        "order_types": frozenset(OrderType), "times_in_force": frozenset(TimeInForce),
        "native_stops": True, "modify": True, "position_modes": frozenset(PositionMode),
        "partial_close": True, "event_stream": True, "price_stream": False,
        "lookup_horizon": timedelta(days=1), "refuses_repeated_ids": False,
        "exit_safety": ExitSafety.TICKET, "session": False, "needs_credentials": False,
    }  # fmt: skip
    return Capabilities(**{**usual, **fields})


def context(
    *,
    signal: SignalRow | None = None,
    instrument: InstrumentRow | None = None,
    quotes: tuple[QuoteRow, ...] = (),
    recent: RecentRow | None = None,
    exits: dict[int, ExitRow] | None = None,
    **fields: Any,
) -> EvaluationContext:
    """Return the input of the decision about order 1. quotes: [0] is that of its pair."""
    found = instrument or instrument_row()
    given: dict[str, Any] = {"market_entry_max_age_seconds": 600, "totals": SignalTotals()}
    return EvaluationContext(
        signals={1: signal or signal_row()},
        instruments={(BOOK, found.pair): found, (BOOK, found.symbol): found},
        quotes={SOURCE: {quote.symbol: quote for quote in quotes or (quote_row(),)}},
        exits=exits or {},
        recent={1: recent} if recent else {},
        **{"now": NOW, "margins": {}, **given, **fields},
    )


def decide(
    *,
    order: dict[str, Any] | None = None,
    signal: dict[str, Any] | None = None,
    instrument: dict[str, Any] | None = None,
    recent: dict[str, Any] | None = None,
    quote: QuoteRow | None = None,
    exposure: PortfolioExposure | None = None,
    can: dict[str, Any] | None = None,
    **of_context: Any,
) -> Decision:
    """Decide the usual entry with these differences."""
    row = order_row(**order or {})
    side = {"direction": row.side, "order_type": row.order_type}
    found = context(
        signal=signal_row(**side | (signal or {})),
        instrument=instrument_row(**{"pair": row.pair} | (instrument or {})),
        quotes=(quote or quote_row(symbol=row.pair), *of_context.pop("others", ())),
        recent=recent_row(**recent) if recent else None,
        **of_context,
    )
    return decide_entry(row, found, exposure or PortfolioExposure(), capabilities(**can or {}))
