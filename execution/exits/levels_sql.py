"""The levels that a signal has now: its own, or those of the latest published MODIFY that set any;
and whose they are to watch.

Prices and fractions of targets come from the same signal: two targets in place of one are two.
"""

JOIN = """
LEFT JOIN LATERAL (
  SELECT f.sl FROM signals_signal f
  WHERE f.refers_to_id = s.id AND f.action = 'MODIFY' AND f.published_at IS NOT NULL
    AND f.sl IS NOT NULL ORDER BY f.published_at DESC, f.id DESC LIMIT 1
) moved_stop ON true
LEFT JOIN LATERAL (
  SELECT f.target_prices, f.target_fractions FROM signals_signal f
  WHERE f.refers_to_id = s.id AND f.action = 'MODIFY' AND f.published_at IS NOT NULL
    AND cardinality(f.target_prices) > 0 ORDER BY f.published_at DESC, f.id DESC LIMIT 1
) moved_targets ON true"""
"""To be put behind `signals_signal s`."""

SL = "coalesce(moved_stop.sl, s.sl)"
TARGET_PRICES = "coalesce(moved_targets.target_prices, s.target_prices)"
TARGET_FRACTIONS = "coalesce(moved_targets.target_fractions, s.target_fractions)"


TICK = "coalesce(nullif(i.tick, 0), trim_scale(1 / power(10::numeric, i.digits)))"
"""The smallest step of a price at the broker, of `connections_instrument i`."""


def tick_of(row: str) -> str:
    """Return the tick of a position's or order's instrument; NULL where the broker lists none."""
    return f"""(SELECT {TICK} FROM connections_executionconnection of_row
      JOIN connections_instrument i ON i.book = of_row.instrument_book AND i.symbol = {row}.symbol
      WHERE of_row.id = {row}.connection_id)"""


def on_tick(price: str, row: str) -> str:
    """Return a level of a position in whole ticks, as `brokers.price_rounding.round_level_price`
    rounds it for the
    broker: of a long up, of a short down. The books and the broker then hold the same price."""
    return f"""(SELECT CASE
        WHEN step.size IS NULL OR mod(level.price, step.size) = 0 THEN level.price
        WHEN {row}.side = 'BUY' THEN ceil(level.price / step.size) * step.size
        ELSE floor(level.price / step.size) * step.size END
      FROM (SELECT {price} AS price) level CROSS JOIN (SELECT {tick_of(row)} AS size) step)"""


def differs(ours: str, theirs: str) -> str:
    """Return whether two levels of a position are not one, up to what brokers round. Never NULL."""
    return f"coalesce(abs({ours} - {theirs}) >= pip / 10, ({ours} IS NULL) <> ({theirs} IS NULL))"


def is_confirmed(level: str) -> str:
    """Return whether the broker itself has said that it holds a position's level (`sl`, `tp`):
    what was only sent is watched by us. Up to a pip: brokers round to their own ticks."""
    return f"coalesce({level}_guardian = 'BROKER' AND abs({level} - broker_{level}) < pip, false)"


def is_watched(level: str, guardian: str) -> str:
    """Return whether a level is this guardian's to watch now."""
    if guardian == "BROKER":
        return is_confirmed(level)
    return f"({level}_guardian <> '' AND NOT {is_confirmed(level)})"


def lacks_level(of: str = "") -> str:
    """Return whether a broker is to hold a level of which it has not said that it holds any. of:
    the position's table, with its point."""
    return f"""({of}sl_guardian = 'BROKER' AND {of}sl IS NOT NULL AND {of}broker_sl IS NULL
  OR {of}tp_guardian = 'BROKER' AND {of}tp IS NOT NULL AND {of}broker_tp IS NULL)"""


LACKS_LEVEL = lacks_level()
