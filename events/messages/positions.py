"""The messages about positions and risk. Pure."""

from decimal import Decimal

from common.reason_codes import Code
from common.web.formatting import amount, gain_amount, unconverted
from events.context import EventContext
from events.messages.parts import Lines, decimal_of, plain_text, reason_lines, slippage_text, trade

KILL_SWITCH_SCOPES = {
    "ALL": "For all accounts.",
    "FEED": "For one feed.",
    "USER": "For all accounts of one owner.",
    "CONNECTION": "For one connection.",
    "BROKER_TYPE": "For all accounts of the broker type {target}.",
    "SYMBOL": "For {target}.",
}
KILL_SWITCH_EFFECTS = {"REDUCING": "exits only", "HALTED": "nothing is sent"}


def opened(event: EventContext) -> Lines:
    price = event.get("price")
    return (f"Position opened: {trade(event)}" + (f" at {price}" if price else ""), "")


def stop_moved(event: EventContext) -> Lines:
    before = event.get("stop_before")
    is_break_even = event.get("rule") == "BREAK_EVEN"
    return (
        f"Stop moved to {event.get('stop')}: {trade(event)}",
        f"The {'break-even' if is_break_even else 'trailing'} rule moved it"
        + (f" from {before}" if before else "")
        + f" at a price of {event.get('price')}.",
    )


def net_result(event: EventContext) -> Decimal | None:
    """Return the result of a closed position after commission and swap; None: not known.

    Events of earlier versions have no swap.
    """
    gross, costs = decimal_of(event.get("pnl")), decimal_of(event.get("commission", "0"))
    swap = decimal_of(event.get("swap", "0"))
    if gross is None or costs is None or swap is None:
        return None
    return gross - costs + swap


def closed(event: EventContext) -> Lines:
    result, currency = "", event.get("currency")
    net, costs = net_result(event), decimal_of(event.get("commission", "0"))
    swap = decimal_of(event.get("swap", "0"))
    if net is not None:
        result = f" with {gain_amount(net, currency)}"
    return (
        f"Closed{result}: {trade(event)}",
        event.get("closed_by"),
        f"Last exit: {last}." if (last := event.get("exit")) else "",
        f"Commission {amount(costs, currency)}, part of the result." if costs else "",
        f"Swap {gain_amount(swap, currency)}, part of the result." if swap else "",
        _unconverted_fees(event),
    )


def _unconverted_fees(event: EventContext) -> str:
    fees = event.payload.get("unconverted_fees")
    if not isinstance(fees, dict):
        return ""
    text = unconverted(
        {name: fee for name, value in fees.items() if (fee := decimal_of(str(value)))}
    )
    return f"{text}." if text else ""


def slippage(event: EventContext) -> Lines:
    expected, filled_at = event.get("expected_price"), event.get("fill_price")
    return (
        f"Slippage {slippage_text(event)}: {trade(event)}",
        f"Expected {plain_text(expected)}, filled at {plain_text(filled_at)}."
        if expected and filled_at
        else "",
        _fill_beyond_limit(event),
    )


def _fill_beyond_limit(event: EventContext) -> str:
    """Return which fill was worse than the limit; older events only have the average price."""
    limit, price = event.get("passed_limit"), event.get("beyond_limit_at")
    if not limit:
        return ""
    lead = f"A fill at {plain_text(price)} is beyond the limit" if price else "Beyond its limit"
    return f"{lead} {plain_text(limit)}, which this broker does not enforce at the fill."


def unprotected(event: EventContext) -> Lines:
    seconds, ended = event.get("seconds"), bool(event.payload.get("ended"))
    name = event.get("trade") or f"position {event.get('position')}".strip()
    stop = event.get("stop")
    if ended:
        return (f"Protected again: {name}", f"The position was without its stop for {seconds} s.")
    return (
        f"Without its stop: {name}",
        f"Unprotected for {seconds} s." if seconds else "",
        f"Its stop should be at {stop}." if stop else "",
        *reason_lines(event),
    )


def exit_delayed(event: EventContext) -> Lines:
    # Of these exits not all are sent again: the reason's hint lists which.
    is_below_minimum = event.get("code") == Code.EXIT_BELOW_MINIMUM.value
    return (
        f"An exit cannot be sent: {trade(event)}",
        "The position is still open.",
        "" if is_below_minimum else "The exit is tried again until the position is closed.",
        *reason_lines(event),
    )


def kill_switch(event: EventContext) -> Lines:
    mode, scope = event.get("mode"), event.get("scope")
    change = "released" if event.get("change") == "released" else "set"
    effect = KILL_SWITCH_EFFECTS.get(mode, mode)
    return (
        f"Kill switch {change}" + (f": {effect}" if change == "set" and effect else ""),
        KILL_SWITCH_SCOPES.get(scope, "").format(target=event.get("target")),
        event.get("reason"),
        "Entries that have not filled are cancelled." if event.get("cancel_entries") else "",
        "Open positions are closed at the market." if event.get("flatten") else "",
    )


def loss_limit_reached(event: EventContext) -> Lines:
    closes = event.get("action") == "PAUSE_AND_CLOSE"
    until, feed = event.get("until"), event.get("feed")
    of_feed = f" of the feed {feed}" if feed else ""
    return (
        f"Loss limit reached: entries{of_feed} are paused",
        f"{event.get('detail')}." if event.get("detail") else "",
        f"All open positions{of_feed} are being closed."
        if closes
        else "Open positions stay open, with their stops and targets.",
        f"Entries resume at {until}, or earlier by hand."
        if until
        else "Entries resume only by hand, on the account's page.",
    )


def trading_resumed(event: EventContext) -> Lines:
    by, feed = event.get("by"), event.get("feed")
    return (
        f"Entries{f' of the feed {feed}' if feed else ''} resume after a loss limit"
        + (f", by {by}" if by else ""),
        f"{event.get('detail')}." if event.get("detail") else "",
        "Skipped signals are not executed later.",
    )
