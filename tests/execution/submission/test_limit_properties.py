"""No size above any cap, and no exit stopped by one: for any account, preset and market. No I/O.

An oracle of fractions calculates what an entry asks for, and what it would use of each cap: from
the documents (docs/sizing.md, docs/limits.md), with nothing of what decides. In each example one
cap is as tight as it can be, so that both sides of its edge are reached.
"""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Context
from decimal import Decimal as D
from fractions import Fraction as F
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.types import ExitSafety
from common.reason_codes import Code
from connections.entry_limits import ENTRY_LIMITS, EntryLimit, Tighter
from execution.models import Status
from execution.submission.evaluate_exit import decide_exit
from execution.submission.outcomes import Deferred, Intent, Terminated
from execution.submission.recent import BundleFlow
from execution.submission.risk import PortfolioExposure
from execution.submission.signal_limits import SignalTotals
from execution.submission.sizing import Denial
from tests.examples import PROFILE, examples
from tests.execution.submission.entry_inputs import (
    FEED,
    HUGE,
    capabilities,
    context,
    decide,
    exit_row,
    instrument_row,
    order_row,
    quote_row,
    signal_row,
)

EXAMPLES = settings(max_examples=examples(30))
# 28 digits are calculated with, 18 places compared: so near to the edge, both answers are right.
EDGE, TINY = F(1, 10**12), F(1, 10**17)
_FLOOR = Context(prec=60, rounding=ROUND_FLOOR)
# pair: step of its price, a price, and what one of its quote currency is in USD
MARKETS = {
    "EUR/USD": (D("0.00001"), D("1.1"), D(1)),
    "EUR/GBP": (D("0.00001"), D("0.85"), D("1.3")),
    "USD/JPY": (D("0.001"), D("155.25"), D("0.0064")),
    "XAU/USD": (D("0.01"), D(2400), D(1)),
    "BTC/USDT": (D("0.1"), D(64000), D("0.999")),
}
CURRENCIES = {"USD": D(1), "EUR": D("1.09"), "CHF": D("1.12"), "JPY": D("0.0064")}
# mode: the field that its size is proportional to
FIGURES = {
    "FIXED": "fixed_quantity", "PER_BALANCE": "fixed_quantity",
    "PERCENT_BALANCE": "percent_of_balance", "PERCENT_EQUITY": "percent_of_equity",
    "FIXED_AMOUNT": "fixed_amount", "RISK_PERCENT": "risk_percent", "RISK_AMOUNT": "risk_amount",
    "RISK_CATEGORY": "normal_risk_percent", "PROVIDER_MULTIPLE": "provider_quantity",
    "EQUITY_RATIO": "provider_quantity", "BY_HAND": "requested_quantity",
}  # fmt: skip


def stored(value: F) -> D:
    """Return a fraction as a column holds it, rounded down."""
    number = _FLOOR.divide(D(value.numerator), D(value.denominator))
    return number.quantize(D("1e-18"), context=_FLOOR)


@dataclass
class Case:
    """An account and an entry that it is asked to make, in the words of `entry_inputs.decide`."""

    order: dict[str, Any]
    signal: dict[str, Any]
    instrument: dict[str, Any]
    recent: dict[str, Any]
    quotes: list[Any]
    held: dict[str, Any]
    flow: dict[str, Any]
    sent: F  # in the signal, by other accounts, in the quote currency
    margins: dict[int, D]
    scale: D
    price: F
    rate: F  # account currency for one of quote currency
    loss: F | None  # of one unit at the stop
    factor: F  # what the mode's figure is multiplied by for a quantity
    focus: Code | None = None
    maxima: dict[Code, F] = field(default_factory=dict)

    @property
    def sign(self) -> int:
        return 1 if self.order["side"] == "BUY" else -1

    @property
    def mode(self) -> str:
        hand = self.order.get("requested_quantity") is not None
        return "BY_HAND" if hand else str(self.order["sizing_mode"])

    def asked(self) -> F:
        """Return what the mode asks for, without any step or limit."""
        name = FIGURES[self.mode]
        figure = F(self.signal[name] if name in self.signal else self.order[name])
        return figure * self.factor

    def size(self, slack: F = F(0)) -> F | None:
        """Return what may be traded of it: whole steps, in the broker's range; None: nothing.

        slack: so much more, as a part, may be asked for: 28 digits may be a step off.
        """
        step, least = F(self.instrument["quantity_step"]), F(self.instrument["quantity_min"])
        most = F(self.instrument["quantity_max"])
        whole = min(self.asked() * (1 + slack), most) // step * step
        if whole >= least and whole > 0:
            return whole
        raised = -(-least // step) * step
        is_raised = self.order["allow_minimum_quantity"] and 0 < raised <= most
        return raised if is_raised and self.mode != "BY_HAND" else None

    def margin(self, quantity: F) -> F:
        if self.margins:
            return quantity * F(self.margins[1])
        worth, rate = quantity * self.price * self.rate, F(self.instrument["margin_rate"])
        return worth * rate if rate else worth / F(self.order["leverage"])

    def uses(self, quantity: F) -> list[tuple[Code, F]]:
        """Return what an entry of this quantity uses of each cap, with what is used already."""
        order, held, recent, flow = self.order, self.held, self.recent, self.flow
        pair, equity = order["pair"], F(order["equity"])
        base, quote = pair.split("/")
        worth = quantity * self.price * self.rate
        risk = self.margin(quantity) if self.loss is None else self.loss * quantity
        median = sorted(recent["last_quantities"])
        middle = F(median[(len(median) - 1) // 2] + median[len(median) // 2]) / 2
        found = [
            (Code.MAX_QUANTITY, quantity),
            (Code.MAX_OPEN_POSITIONS, F(held["positions"])),
            (Code.MAX_OPEN_ORDERS, F(held["orders"])),
            (Code.MAX_LEVERAGE, (F(held["notional"]) + worth) / equity),
            (Code.SYMBOL_EXPOSURE, (F(held["notional_by_pair"][pair]) + worth) * 100 / equity),
            (Code.TRADE_RISK, risk * 100 / equity),
            (Code.PORTFOLIO_RISK, (F(held["risk"]) + risk) * 100 / equity),
            (Code.MAX_ORDERS_PER_MINUTE, F(recent["sent_in_minute"] + flow["sent"])),
            (Code.SIZE_UNUSUAL, quantity / middle if len(median) >= 5 else F(0)),
            (Code.DAILY_NOTIONAL, F(recent["day_notional"]) + F(flow["notional"]) + worth),
            (Code.DAILY_VOLUME,
             F(recent["day_volume"]) + F(flow["volumes"].get(pair, 0)) + quantity),
            (Code.SIGNAL_NOTIONAL, (self.sent + quantity * self.price) * self.rate),
            (Code.MARGIN, self.margin(quantity) + F(held["margin_in_flight"])),
        ]  # fmt: skip
        for currency, net, sign in (
            (base, recent["net_base"], self.sign), (quote, recent["net_quote"], -self.sign)
        ):  # fmt: skip
            before = F(net) + F(flow["nets"].get(currency, 0))
            after = before + sign * worth
            if currency != order["currency"] and abs(after) > abs(before):
                found.append((Code.CURRENCY_EXPOSURE, abs(after) * 100 / equity))
        return found

    def broken(self, quantity: F, *, tolerance: F) -> set[Code]:
        """Return the caps that it breaks, or comes near to. tolerance: above 0 allows more."""
        codes = set()
        for code, used in self.uses(quantity):
            if code not in self.maxima:
                continue
            most = self.maxima[code]
            edge = most * (1 + tolerance) + (TINY if tolerance > 0 else -TINY)
            is_broken = used >= most if code in COUNTED else used > edge
            codes |= {code} if is_broken else set()
        free = F(self.order["equity"]) - F(self.held["notional"]) / F(self.order["leverage"])
        if self.margin(quantity) > free + abs(free) * tolerance:
            codes.add(Code.MARGIN)
        return codes

    def limit(self, code: Code, most: F) -> None:
        """Set a limit, where it belongs."""
        if code in COUNTED:
            number = max(int(most), 1)
            self.order[FIELDS[code]], self.maxima[code] = number, F(number)
            return
        value = stored(most)
        if code is Code.SIGNAL_NOTIONAL:
            self.signal |= {"max_signal_notional": value}
            self.signal |= {"max_signal_currency": self.order["currency"]}
        else:
            self.order[FIELDS[code]] = value
        self.maxima[code] = F(value)

    def decide(self) -> Any:
        exposure = PortfolioExposure(**deepcopy(self.held), flow=BundleFlow(**deepcopy(self.flow)))
        quote = self.order["pair"].partition("/")[2]
        totals = SignalTotals({1: {quote: stored(self.sent)}})
        return decide(
            order=self.order, signal=self.signal, instrument=self.instrument,
            recent=self.recent, quote=self.quotes[0], others=tuple(self.quotes[1:]),
            exposure=exposure, margins=self.margins, totals=totals, scales={1: self.scale},
        )  # fmt: skip


FIELDS = {
    Code.MAX_QUANTITY: "max_quantity",
    Code.MAX_OPEN_POSITIONS: "max_open_positions",
    Code.MAX_OPEN_ORDERS: "max_open_orders",
    Code.MAX_LEVERAGE: "max_leverage",
    Code.SYMBOL_EXPOSURE: "max_symbol_exposure_percent",
    Code.MARGIN: "free_margin",
    Code.TRADE_RISK: "max_trade_risk_percent",
    Code.PORTFOLIO_RISK: "max_portfolio_risk_percent",
    Code.MAX_ORDERS_PER_MINUTE: "max_orders_per_minute",
    Code.SIZE_UNUSUAL: "max_size_multiple",
    Code.DAILY_NOTIONAL: "max_daily_notional",
    Code.DAILY_VOLUME: "max_daily_volume",
    Code.CURRENCY_EXPOSURE: "max_currency_exposure_percent",
    Code.SIGNAL_NOTIONAL: "",
}
COUNTED = {Code.MAX_OPEN_POSITIONS, Code.MAX_OPEN_ORDERS, Code.MAX_ORDERS_PER_MINUTE}
NEAR = [F(1, 2), 1 - F(1, 10**9), F(1), 1 + F(1, 10**9), F(2)]


def amounts(most: int, least: int = 0) -> st.SearchStrategy[D]:
    return st.decimals(least, most, places=2, allow_nan=False, allow_infinity=False)


@st.composite
def cases(draw: Callable[..., Any], focus: Code | None) -> Case:
    pair = draw(st.sampled_from(sorted(MARKETS)))
    tick, middle, quote_usd = MARKETS[pair]
    currency = draw(st.sampled_from(sorted(CURRENCIES)))
    quote = pair.partition("/")[2]
    side = draw(st.sampled_from(["BUY", "SELL"]))
    sign = 1 if side == "BUY" else -1
    bid = middle + tick * draw(st.integers(-500, 500))
    ask = bid + tick * draw(st.integers(0, 30))
    kind = draw(st.sampled_from(["MARKET", "MARKET", "LIMIT", "STOP", "STOP_LIMIT"]))
    touch = ask if side == "BUY" else bid
    own = touch + tick * draw(st.integers(1, 900)) * (-sign if kind == "LIMIT" else sign)
    order: dict[str, Any] = {"pair": pair, "side": side, "order_type": kind, "currency": currency}
    price = touch if kind == "MARKET" else own
    if kind in ("LIMIT", "STOP_LIMIT"):
        order["limit_price"] = own
    if kind in ("STOP", "STOP_LIMIT"):
        order["stop_price"] = own - tick * sign if kind == "STOP_LIMIT" else own
    quotes, rate = [quote_row(bid, ask, symbol=pair)], F(1)
    if currency != quote:  # a rate of its own, direct or inverted
        worth = quote_usd / CURRENCIES[currency]
        is_inverted = draw(st.booleans())
        shown = (1 / worth if is_inverted else worth).quantize(D("1e-6"))
        name = f"{currency}/{quote}" if is_inverted else f"{quote}/{currency}"
        low, high = shown, shown + D("0.000002")
        if name != pair and "/".join(reversed(name.split("/"))) != pair:
            quotes.append(quote_row(low, high, symbol=name))
            mean = (F(low) + F(high)) / 2
        else:
            mean = (F(bid) + F(ask)) / 2
            is_inverted = True  # the pair itself has the rate
        rate = 1 / mean if is_inverted else mean
    step = draw(st.sampled_from([D("0.00001"), D("0.01"), D(1), D(10), D(1000)]))
    least = step * draw(st.integers(0, 20))
    mode = draw(st.sampled_from(sorted(FIGURES)))
    sl, loss = None, None
    if mode.startswith("RISK_") or draw(st.booleans()):
        sl = price - sign * tick * draw(st.integers(3, 2000))
        loss = (F(price) - F(sl)) * sign * rate
    balance = draw(amounts(100_000, 1000))
    equity = draw(amounts(100_000, 1000)) * draw(st.sampled_from([1, 10**7, 10**7]))
    multiplier, scale = draw(amounts(3, 1)), draw(st.sampled_from([D(1), D("0.5"), D("2.75")]))
    subscription = draw(st.sampled_from([D(1), D("0.1"), D(3)]))
    per_balance, theirs = draw(amounts(5000, 100)), draw(amounts(9000, 100))
    value, hundred = F(price) * rate, 100
    factor = {
        "PER_BALANCE": F(balance) / F(per_balance), "PERCENT_BALANCE": F(balance) / hundred / value,
        "PERCENT_EQUITY": F(equity) / hundred / value, "FIXED_AMOUNT": 1 / value,
        "RISK_PERCENT": F(equity) / hundred / (loss or 1), "RISK_AMOUNT": 1 / (loss or F(1)),
        "RISK_CATEGORY": F(equity) / hundred / (loss or 1), "EQUITY_RATIO": F(equity) / F(theirs),
    }.get(mode, F(1)) * F(multiplier) * F(subscription) * F(scale)  # fmt: skip
    if mode == "BY_HAND":
        factor = F(1)
    wanted = F(step) * draw(st.integers(1, 400)) + F(step) * F(draw(amounts(1)))
    figure = stored(wanted / factor) + D("1e-18")
    signal = {"sl": sl, "provider_equity": theirs, "provider_currency": currency}
    (signal if FIGURES[mode] == "provider_quantity" else order)[FIGURES[mode]] = figure
    order |= {
        "sizing_mode": "FIXED" if mode == "BY_HAND" else mode, "balance": balance,
        "equity": equity, "free_margin": HUGE, "leverage": draw(st.sampled_from([D(1), D(30)])),
        "multiplier": multiplier, "subscription_multiplier": subscription,
        "per_balance": per_balance, "allow_minimum_quantity": draw(st.booleans()),
        "position_mode": draw(st.sampled_from(["HEDGING", "NETTING"])),
    }  # fmt: skip
    if kind == "MARKET" and draw(st.booleans()):
        signal |= {"execution_style": "TWAP", "duration_seconds": 60, "slice_count": 4}
        signal |= {"slice_variation": draw(st.sampled_from([D(0), D(30)]))}
    base = pair.partition("/")[0]
    nets = st.integers(-2, 2).map(lambda n: D(n) * 1000)
    case = Case(
        order=order,
        signal=signal,
        instrument={
            "quantity_step": step, "quantity_min": least, "tick": tick, "symbol": "S",
            "quantity_max": step * draw(st.sampled_from([100, 401, 10_000])) + least,
            "margin_rate": draw(st.sampled_from([D(0), D("0.05")])),
        },
        recent={
            "sent_in_minute": draw(st.integers(0, 4)), "day_notional": draw(amounts(9000)),
            "day_volume": draw(amounts(900)), "net_base": draw(nets), "net_quote": draw(nets),
            "last_quantities": [step * n for n in draw(st.lists(st.integers(1, 400), min_size=4,
                                                                max_size=8))],
        },
        quotes=quotes,
        held={
            "positions": draw(st.integers(0, 4)), "orders": draw(st.integers(0, 4)),
            "notional": draw(amounts(500)), "margin_in_flight": draw(amounts(50)),
            "risk": draw(amounts(90)), "notional_by_pair": {pair: draw(amounts(400))},
        },
        flow={
            "sent": draw(st.integers(0, 2)), "notional": draw(amounts(90)),
            "volumes": {pair: draw(amounts(9))}, "nets": {base: draw(nets)},
            "trades": {(FEED + 1, pair, sign)},
        },
        sent=F(draw(amounts(900))), margins=draw(st.sampled_from([{}, {}, {1: D("0.0371")}])),
        scale=scale, price=F(price), rate=rate, loss=loss, factor=factor, focus=focus,
    )  # fmt: skip
    quantity = case.size()
    uses: dict[Code, F] = {}
    for code, used in case.uses(quantity or F(step)):
        uses[code] = max(used, uses.get(code, used))  # of two currencies the larger
    for code, used in uses.items():
        if code is focus:
            more = draw(st.integers(0, 1)) if code in COUNTED else 0
            case.limit(code, used * draw(st.sampled_from(NEAR)) + more)
        elif draw(st.integers(0, 5)) == 0:
            case.limit(code, used * 2 + 1)
    return case


@pytest.mark.draws
@pytest.mark.parametrize("focus", FIELDS)
def test_whatever_is_sent_keeps_within_every_cap(focus: Code) -> None:
    seen: Counter[str] = Counter()

    @EXAMPLES
    @given(cases(focus))
    def decide_one(case: Case) -> None:
        found = case.decide()
        if isinstance(found, Intent):
            seen["sent"] += 1
            check_size(case, found)
            assert not case.broken(F(found.whole_quantity), tolerance=EDGE)
            return
        assert isinstance(found, Denial), found
        seen[found.code] += 1
        if found.code is Code.QUANTITY_BELOW_MINIMUM:
            assert case.size(-EDGE) is None or case.order["allow_minimum_quantity"]
        else:
            larger = case.size(EDGE)
            assert larger is not None
            assert found.code in case.broken(larger, tolerance=-EDGE)

    decide_one()
    # Both sides of the edge are reached. Few examples may miss one; `test_limit_edges.py` has both
    # sides of each limit in every run.
    if PROFILE == "explore":
        assert seen["sent"], seen
        assert seen[focus], seen


def check_size(case: Case, found: Intent) -> None:
    """A size is what the oracle calculates: whole steps, within the range, never rounded up."""
    quantity, asked, step = (
        F(found.whole_quantity),
        case.asked(),
        F(case.instrument["quantity_step"]),
    )
    assert quantity % step == 0
    assert all(F(part.quantity) % step == 0 for part in found.slices)
    assert F(case.instrument["quantity_min"]) <= quantity <= F(case.instrument["quantity_max"])
    if quantity > asked * (1 + EDGE):
        assert case.order["allow_minimum_quantity"]
        assert quantity == -(-F(case.instrument["quantity_min"]) // step) * step
    else:
        assert quantity > min(asked, F(case.instrument["quantity_max"])) * (1 - EDGE) - step
    assert 0 < found.quantity <= found.whole_quantity


# ---- exits --------------------------------------------------------------------------------------
ZERO = D("1e-18")


def tightest(limit: EntryLimit) -> Any:
    """Return the value of a limit that stops most entries."""
    if limit.item_length:
        return ["X/Y"] if limit.name == "allowed_symbols" else ["SUN 00:00-00:01"]
    if limit.type is str:
        return ""
    if limit.type is int:
        return 10**6 if limit.tighter is Tighter.HIGHER else 0
    return True if limit.type is bool else D(limit.least if limit.least is not None else ZERO)


TIGHTEST: dict[str, Any] = {
    **{name: tightest(limit) for name, limit in ENTRY_LIMITS.items()},
    "own_max_slippage": D(0), "own_max_spread": D(0), "own_allowed_symbols": ["X/Y"],
    "own_trading_sessions": ["SAT 00:00-00:01"], "max_signal_age_seconds": 0, "free_margin": D(0),
    "balance": D(0), "equity": D(0), "account_age": 10**6, "is_paused": True, "is_active": False,
    "pause_code": Code.LOSS_LIMIT.value, "sizing_mode": "RISK_PERCENT", "risk_percent": None,
}  # fmt: skip


@st.composite
def exits(draw: Callable[..., Any]) -> dict[str, Any]:
    """Return an exit, its position, instrument, quote (or none) and its account's safety."""
    flags = {
        name: draw(st.booleans())
        for name in ("protection_suspended", "is_protected", "is_read", "is_known",
                     "broker_quantity_is_shared", "needs_comparison", "has_exit_ahead",
                     "shares_broker_position")
    }  # fmt: skip
    opened = draw(st.integers(1, 40))
    left = draw(st.integers(0, opened))
    step = draw(st.sampled_from([D("0.001"), D(1), D(10)]))
    position = exit_row(
        **flags, opened_quantity=opened * step, quantity=left * step,
        closable=draw(st.integers(0, left)) * step,
        broker_quantity=draw(st.none() | st.integers(0, opened).map(lambda n: n * step)),
        broker_position_id=draw(st.sampled_from(["", "t1"])),
        compared_for=draw(st.sampled_from([None, D(0), D(29), D(30)])),
    )  # fmt: skip
    return {
        "position": position,
        "quantity": draw(st.integers(1, opened)) * step,
        "instrument": instrument_row(
            quantity_step=step, quantity_min=5 * step,
            close_min=draw(st.sampled_from([D(0), step, 5 * step])),
            close_worth_min=draw(st.sampled_from([D(0), D(5)])),
        ),
        "quotes": draw(st.sampled_from([
            (), (quote_row(),), (quote_row(age=10**6),), (quote_row("0.5", "1.9"),)
        ])),
        "safety": draw(st.sampled_from(list(ExitSafety))),
    }  # fmt: skip


@settings(max_examples=examples(150))
@given(exits())
def test_exit_is_never_blocked_by_a_limit_of_entries(case: dict[str, Any]) -> None:
    """Whatever its account may enter, an exit is decided as if there were no limit at all."""
    position, quantity = case["position"], case["quantity"]
    can = capabilities(exit_safety=case["safety"])
    given_all = {
        "exits": {1: position}, "instrument": case["instrument"], "quotes": case["quotes"],
        "signal": signal_row(max_spread=D(0), max_slippage_pips=D(0), max_signal_notional=ZERO),
    }  # fmt: skip
    read = context(**given_all)
    closing = {"position_id": 5, "leg": "close-1", "side": "SELL", "quantity": quantity}
    tight, free = order_row(**closing, **TIGHTEST), order_row(**closing)
    found = decide_exit(tight, read, can)
    assert found == decide_exit(free, read, can)
    assert not isinstance(found, Denial)
    if isinstance(found, Intent):
        assert 0 < found.quantity <= min(quantity, position.closable)
    elif isinstance(found, Terminated):
        assert found.status is Status.CANCELLED
    if is_free(case):
        assert isinstance(found, Intent)
        assert found.quantity == min(quantity, position.closable)
    elif position.closable > 0 and position.quantity > 0 and case["instrument"].close_min == 0:
        assert isinstance(found, Intent | Deferred)  # it waits, and is not lost


def is_free(case: dict[str, Any]) -> bool:
    """Return whether neither the broker nor another exit can be in the way of an exit."""
    position = case["position"]
    by_broker = case["safety"] in (ExitSafety.TICKET, ExitSafety.REDUCE_ONLY)
    is_named = case["safety"] is not ExitSafety.TICKET or position.broker_position_id
    return bool(
        by_broker and is_named and not position.shares_broker_position
        and position.closable > 0 and case["instrument"].close_min == 0
    )  # fmt: skip
