"""Entries of a bundle that have the same terms are priced once, and only those."""

from decimal import Decimal as D
from typing import Any

import pytest

from brokers.types import OrderType
from common.reason_codes import Code
from execution.submission.entry_prices import EntryMarket, PricedEntry, price_entry
from execution.submission.limit_lists import Subject
from execution.submission.limits import PRICE
from execution.submission.outcomes import EvaluationContext
from execution.submission.quotes import market_of
from execution.submission.rows import OrderRow
from execution.submission.shared_prices import MarketTerms, PriceTerms, SharedPrices
from execution.submission.sizing import Denial
from tests.execution.submission.entry_inputs import (
    BOOK,
    NOW,
    SOURCE,
    capabilities,
    instrument_row,
    order_row,
    quote_row,
    signal_row,
)

TAKES_ALL = capabilities()
SIGNAL = signal_row(sl=D("1.09"), target_prices=[D("1.12")], target_fractions=[D(1)])


def context(**quotes: Any) -> EvaluationContext:
    return EvaluationContext(
        signals={1: SIGNAL},
        instruments={(BOOK, "EUR/USD"): instrument_row()},
        quotes={SOURCE: quotes or {"EUR/USD": quote_row()}},
        exits={},
        now=NOW,
    )


def market(prices: SharedPrices, row: OrderRow, at: EvaluationContext | None = None) -> EntryMarket:
    found = prices.market_of(row, SIGNAL, instrument_row(), at or context())
    assert isinstance(found, EntryMarket)
    return found


def priced(prices: SharedPrices, row: OrderRow, **fields: Any) -> PricedEntry:
    entry = prices.priced(row, SIGNAL, market(prices, row), fields.get("account", TAKES_ALL))
    assert isinstance(entry, PricedEntry)
    return entry


class Recorder:
    """A row that notes which of its fields are read."""

    def __init__(self, row: OrderRow) -> None:
        self.row, self.read = row, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(self.row, name)


@pytest.mark.parametrize("order_type", OrderType)
@pytest.mark.parametrize("side", ["BUY", "SELL"])
@pytest.mark.parametrize("style", ["", "TWAP"])
@pytest.mark.parametrize("limited", [True, False])
def test_prices_and_their_limits_depend_on_nothing_but_the_terms(
    order_type: OrderType, side: str, style: str, limited: bool
) -> None:
    """A limit that reads more of a row needs it in the terms, or accounts get others' decisions."""
    limits: dict[str, Any] = dict.fromkeys(
        ("max_slippage_pips", "own_max_slippage", "max_spread", "own_max_spread",
         "max_price_deviation_percent", "max_level_deviation_percent"), D(10**6),
    )  # fmt: skip
    row = Recorder(
        order_row(
            order_type=order_type.value,
            side=side,
            limit_price=D("1.1"),
            stop_price=D("1.1"),
            **(limits if limited else {}),
        )
    )
    signal = SIGNAL._replace(
        order_type=order_type.value, open_price=D("1.1"), execution_style=style,
        price_limit=D("1.1") if style else None,
    )  # fmt: skip
    one: Any = row
    found = market_of(one, signal, instrument_row(), context())
    assert isinstance(found, EntryMarket)
    assert row.read <= {*MarketTerms._fields}
    entry = price_entry(one, signal, found, TAKES_ALL)
    for check in PRICE._of[Subject.ENTRY]:
        check(entry)
    assert "order_type" in row.read
    assert row.read <= {*MarketTerms._fields, *PriceTerms._fields, "terms"}


def test_accounts_with_the_same_terms_share_their_prices() -> None:
    prices = SharedPrices()
    first = priced(prices, order_row(id=1, connection_id="a", preset_id=1, equity=D(1)))
    second = priced(prices, order_row(id=2, connection_id="b", preset_id=1, equity=D(2)))
    assert first.at is second.at
    assert first.market is second.market
    assert (first.row.id, second.row.id) == (1, 2)


@pytest.mark.parametrize(
    "fields",
    [
        {"preset_id": 2},
        {"limiting_subscription_id": 1},
        {"side": "SELL"},
        {"order_type": "LIMIT", "limit_price": D("1.1")},
        {"position_mode": "NETTING"},
        {"own_stop_loss": D("1.08")},
        {"oco_fired": True},
        {"account": capabilities(native_stops=False)},
        {"currency": "EUR"},
        {"preset_id": None},
    ],
    ids=lambda fields: ", ".join(fields),
)
def test_other_terms_have_prices_of_their_own(fields: dict[str, Any]) -> None:
    prices, account = SharedPrices(), fields.pop("account", TAKES_ALL)
    signal, euro = SIGNAL._replace(sl=None, target_prices=[]), context()
    first, other = order_row(preset_id=1), order_row(**{"preset_id": 1, **fields})
    found = [
        prices.priced(row, signal, market(prices, row, euro), able)
        for row, able in ((first, TAKES_ALL), (other, account))
    ]
    one, two = found
    assert isinstance(one, PricedEntry)
    assert isinstance(two, PricedEntry)
    assert one.at is not two.at


def test_entries_without_a_preset_share_nothing() -> None:
    prices = SharedPrices()
    assert priced(prices, order_row()).at is not priced(prices, order_row()).at


def test_fired_limit_that_goes_out_at_market_is_changed_for_each_account() -> None:
    prices = SharedPrices()
    refuses = capabilities(refuses_reached=frozenset({OrderType.LIMIT}), keeps_worst_price=True)
    for number in (1, 2):
        row = order_row(
            id=number, preset_id=1, order_type="LIMIT", limit_price=D("1.11"), oco_fired=True
        )
        entry = priced(prices, row, account=refuses)
        assert entry.at_market
        assert (entry.row.id, entry.row.order_type) == (number, "MARKET")


def test_denials_are_not_shared() -> None:
    """Each has the figures of its own entry."""
    prices = SharedPrices()
    row = order_row(preset_id=1, max_spread=D("0.1"), max_spread_unit="PIPS")
    denials = [prices.priced(row, SIGNAL, market(prices, row), TAKES_ALL) for _ in range(2)]
    assert [denial.code for denial in denials if isinstance(denial, Denial)] == [
        Code.SPREAD_LIMIT, Code.SPREAD_LIMIT,
    ]  # fmt: skip
    assert denials[0] is not denials[1]


def test_missing_price_is_looked_up_again() -> None:
    prices, row = SharedPrices(), order_row()
    without = context(**{"XAU/USD": quote_row(symbol="XAU/USD")})
    assert isinstance(prices.market_of(row, SIGNAL, instrument_row(), without), Denial)
    assert isinstance(prices.market_of(row, SIGNAL, instrument_row(), context()), EntryMarket)
