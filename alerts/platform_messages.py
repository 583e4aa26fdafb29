"""The messages to paste into charting platforms: those of docs/tradingview.md (tests compare)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MessageTemplate:
    """A message to paste. use: what the alert is made on."""

    name: str
    title: str
    use: str
    text: str


STRATEGY = """{
  "ticker": "{{exchange}}:{{ticker}}",
  "action": "{{strategy.order.action}}",
  "market_position": "{{strategy.market_position}}",
  "market_position_size": "{{strategy.market_position_size}}",
  "prev_market_position": "{{strategy.prev_market_position}}",
  "prev_market_position_size": "{{strategy.prev_market_position_size}}",
  "contracts": "{{strategy.order.contracts}}",
  "price": "{{strategy.order.price}}",
  "order_id": "{{strategy.order.id}}",
  "comment": "{{strategy.order.comment}}",
  "timenow": "{{timenow}}",
  "valid_for": 60
}"""
INDICATOR = """{
  "action": "OPEN",
  "direction": "BUY",
  "ticker": "{{exchange}}:{{ticker}}",
  "price": "{{close}}",
  "sl": "{{plot("Stop")}}",
  "tp": "{{plot("Target")}}",
  "timenow": "{{timenow}}",
  "valid_for": 60
}"""
TEXT = "BUY EURUSD @ 1.0850 SL 1.0800 TP1 1.0900 TP2 1.0950"
TEMPLATES = (
    MessageTemplate(
        "strategy", "TradingView strategy",
        "One alert on the strategy sends entries, exits and reversals.", STRATEGY,
    ),
    MessageTemplate(
        "indicator", "TradingView indicator",
        "One alert for each direction; with SELL for shorts. Plot a stop and a target, or leave "
        "these two lines out.", INDICATOR,
    ),
    MessageTemplate(
        "text", "Plain text",
        "By hand or from a channel. Later: “EURUSD SL to BE”, “EURUSD close half”, “close EURUSD”, "
        "“cancel EURUSD”.", TEXT,
    ),
)  # fmt: skip
