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


# A level that the broker is to hold, and of which it has not said that it holds any.
WANTING = """(sl_guardian = 'BROKER' AND sl IS NOT NULL AND broker_sl IS NULL
  OR tp_guardian = 'BROKER' AND tp IS NOT NULL AND broker_tp IS NULL)"""
