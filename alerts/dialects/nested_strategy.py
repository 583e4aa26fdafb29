"""The widely pasted template with a strategy's order in an object of its own. Pure.

`{"passphrase": …, "ticker": …, "bar": {…}, "strategy": {"order_action": "buy", …}}`: its fields are
those of our own template of a strategy under other names.
"""

from collections.abc import Mapping
from typing import Any

from alerts.grammar.mapping import AlertMapping
from alerts.grammar.reading import Dialect, LevelForm, Note, Reading, unread
from common.errors import InvalidInputError
from common.reason_codes import Code

_OUTSIDE = {
    "passphrase": "the address is the secret here", "bar": "it describes the chart",
    "interval": "it describes the chart", "timeframe": "it describes the chart",
}  # fmt: skip
_READ = {"ticker", "exchange", "time", "timenow", "strategy"}
_OURS = {
    "order_action": "action", "order_contracts": "contracts", "order_price": "price",
    "order_id": "order_id", "order_comment": "comment", "position_size": "position_size",
    "market_position": "market_position", "market_position_size": "market_position_size",
    "prev_market_position": "prev_market_position",
    "prev_market_position_size": "prev_market_position_size",
}  # fmt: skip


def is_nested_strategy(parsed: Mapping[str, Any]) -> bool:
    """Whether an object has a strategy's order in an object of its own."""
    strategy = parsed.get("strategy")
    return isinstance(strategy, Mapping) and "order_action" in strategy


def read_nested_strategy(parsed: Mapping[str, Any], mapping: AlertMapping) -> Reading:
    """Return the order in our own fields. Raises InvalidInputError, also for a name that is not of
    the template, and without the positions before and after it."""
    strategy = parsed["strategy"]
    for names, known, before in ((parsed, _OUTSIDE.keys() | _READ, ""),
                                 (strategy, _OURS.keys(), "strategy.")):  # fmt: skip
        for name in names:
            if name not in known:
                raise unread(str(name), f"{before}{name}")
    for name in ("market_position", "prev_market_position"):
        if strategy.get(name) in (None, ""):
            detail = (
                "Without the positions before and after an order, it could open or end a trade."
            )
            raise InvalidInputError(Code.ALERT_AMBIGUOUS, detail, field=f"strategy.{name}")
    ticker, exchange = parsed.get("ticker"), parsed.get("exchange")
    symbol = mapping.symbol_of(ticker) if isinstance(ticker, str) else ticker
    if symbol == ticker and isinstance(exchange, str) and exchange and ":" not in str(ticker):
        symbol = f"{exchange}:{ticker}"
    document = {_OURS[name]: value for name, value in strategy.items() if value not in (None, "")}
    document |= {"ticker": symbol}
    document |= {name: parsed[name] for name in ("time", "timenow") if parsed.get(name)}
    notes = tuple(Note(name, reason) for name, reason in _OUTSIDE.items() if name in parsed)
    return Reading(Dialect.STRATEGY_OBJECT, document, notes=notes, level_form=LevelForm.FIELD)
