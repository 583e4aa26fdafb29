"""Margin and equity of an account. Pure, Decimals only."""

from decimal import ROUND_HALF_EVEN, Decimal

from brokers.paper.book_state import ZERO, Account, BookOrder, Listed, Lot, Market
from brokers.types import Side
from common.reason_codes import Code

CENT = Decimal("0.01")
Refusal = tuple[Code, str]


def to_cents(amount: Decimal) -> Decimal:
    """Round an amount to cents, as it is booked."""
    return amount.quantize(CENT, ROUND_HALF_EVEN)


def refuse_money(
    account: Account, order: BookOrder, quantity: Decimal, lots: list[Lot], market: Market
) -> Refusal | None:
    """Return NO_MONEY if an execution needs more margin than the account has free."""
    closing = sum((lot.quantity for lot in lots), ZERO)
    opening = quantity - closing
    if opening <= 0:
        return None
    listed = market.by_symbol[order.symbol]
    now_used: Decimal | None = ZERO
    long, short = (opening, ZERO) if order.side is Side.BUY else (ZERO, opening)
    if before := account.exposures.get(order.symbol):
        now_used = margin_of(account, listed, before.long, before.short, market)
        buys = order.side is Side.BUY
        long += before.long - (ZERO if buys else min(closing, before.long))
        short += before.short - (min(closing, before.short) if buys else ZERO)
    more = margin_of(account, listed, long, short, market)
    if more is None or now_used is None:
        return Code.REJECTED_BY_BROKER, f"no rate from {listed.quote} to {account.currency}"
    equity, used = equity_and_margin(account, market)
    if more - now_used > equity - used:
        return Code.NO_MONEY, f"needs {to_cents(more - now_used)}, free {to_cents(equity - used)}"
    return None


def margin_of(
    account: Account, listed: Listed, long: Decimal, short: Decimal, market: Market
) -> Decimal | None:
    """Return the margin (account currency) of an exposure: of its larger side, at mid prices.

    None: the quote currency cannot be converted.
    """
    larger = max(long, short)
    if not larger:
        return ZERO
    rate = market.rate(listed.quote, account.currency)
    if rate is None:
        return None
    worth = larger * (listed.bid + listed.ask) * rate
    return worth * listed.margin_rate / 2 if listed.margin_rate else worth / (2 * account.leverage)


def equity_and_margin(account: Account, market: Market) -> tuple[Decimal, Decimal]:
    """Return equity and used margin in account currency, at the prices in force.

    Equity: balance plus what closing everything now would bring, before commission.
    """
    equity, used = account.balance, ZERO
    for symbol, exposure in account.exposures.items():
        listed = market.by_symbol.get(symbol)
        if listed is None:
            continue
        rate = market.rate(listed.quote, account.currency) or ZERO
        profit = exposure.long * listed.bid - exposure.long_cost
        profit += exposure.short_cost - exposure.short * listed.ask
        equity += profit * rate
        used += margin_of(account, listed, exposure.long, exposure.short, market) or ZERO
    return equity, used
