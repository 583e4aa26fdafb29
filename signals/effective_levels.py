"""The levels that a signal has now, mostly as SQL.

A signal has its own levels, or those of the latest published MODIFY that set any. Prices and
fractions of targets come from the same signal, so their number always agrees.
"""

from collections.abc import Collection
from decimal import Decimal
from typing import NamedTuple

from common.db.sql import Query, array, rows
from signals.models import Action, Signal

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
"""Append it to `FROM signals_signal s`."""

SL = "coalesce(moved_stop.sl, s.sl)"
TARGET_PRICES = "coalesce(moved_targets.target_prices, s.target_prices)"
TARGET_FRACTIONS = "coalesce(moved_targets.target_fractions, s.target_fractions)"
LAST_PART = f"""(SELECT CASE WHEN sum(t) < 1 THEN (array_agg(t ORDER BY n DESC))[1] END
  FROM unnest({TARGET_FRACTIONS}) WITH ORDINALITY x(t, n))"""
"""The fraction that its last target closes; NULL: all that is left (`levels.target_fraction`)."""

_WITH_LEVELS = f"""
SELECT s.id FROM signals_signal s{JOIN}
WHERE s.id = ANY(%s::bigint[]) AND ({SL} IS NOT NULL OR cardinality({TARGET_PRICES}) > 0)
"""

PRICE_LIMIT = """CASE WHEN s.execution_style = '' THEN s.price_limit ELSE coalesce((
    SELECT f.price_limit FROM signals_signal f
    WHERE f.refers_to_id = s.id AND f.action = 'MODIFY' AND f.published_at IS NOT NULL
      AND f.price_limit IS NOT NULL ORDER BY f.published_at DESC, f.id DESC LIMIT 1),
    s.price_limit) END"""
"""The price limit of the slices of a signal `s` that are not sent yet."""


def prices_text_sql(prices: str) -> str:
    """Return SQL of prices as one text, `1.12 1.13`. prices: an expression, an array."""
    return f"(SELECT string_agg(trim_scale(t)::text, ' ') FROM unnest({prices}::numeric[]) t)"


def _before(column: str, is_set: str) -> str:
    """Return SQL of what counted before: the newest earlier MODIFY's, else the signal's own."""
    return f"""coalesce((SELECT f.{column} FROM signals_signal f
      WHERE f.refers_to_id = s.id AND f.action = 'MODIFY' AND f.published_at IS NOT NULL
        AND f.id <> %(signal_id)s AND {is_set} ORDER BY f.published_at DESC, f.id DESC LIMIT 1),
      s.{column})"""


LEVELS_BEFORE_SQL = f"""
  SELECT s.id AS signal_id, trim_scale({_before("sl", "f.sl IS NOT NULL")})::text AS sl,
    {prices_text_sql(_before("target_prices", "cardinality(f.target_prices) > 0"))} AS targets,
    trim_scale({_before("price_limit", "f.price_limit IS NOT NULL")})::text AS price_limit
  FROM signals_signal s WHERE s.id = %(refers_to)s"""
"""The levels of a signal before its MODIFY `signal_id`, as texts."""


def exit_condition_sql(signal_id: str) -> str:
    """Return SQL of what closes a signal's positions now, as a LATERAL subquery of one row.

    It has signal_id (NULL: nothing does) and state. The newest MODIFY that named a signal counts,
    else the signal's own. signal_id: an expression.
    """
    return f"""(
  SELECT coalesce(f.close_when_signal_id, s.close_when_signal_id) AS signal_id,
    CASE WHEN f.close_when_signal_id IS NULL THEN s.close_when_state ELSE f.close_when_state END
      AS state
  FROM signals_signal s LEFT JOIN LATERAL (
    SELECT x.close_when_signal_id, x.close_when_state FROM signals_signal x
    WHERE x.refers_to_id = s.id AND x.action = 'MODIFY' AND x.published_at IS NOT NULL
      AND x.close_when_signal_id IS NOT NULL ORDER BY x.published_at DESC, x.id DESC LIMIT 1
  ) f ON true
  WHERE s.id = {signal_id})"""


def close_time_sql(signal_id: str, opened_at: str) -> str:
    """Return SQL of the market time at which a position that opens now is closed; NULL: never.

    The newest MODIFY that set a time counts, else the earlier one of the signal's two. Both
    arguments are expressions.
    """
    return f"""(SELECT coalesce((
      SELECT f.close_at FROM signals_signal f
      WHERE f.refers_to_id = s.id AND f.action = 'MODIFY' AND f.published_at IS NOT NULL
        AND f.close_at IS NOT NULL ORDER BY f.published_at DESC, f.id DESC LIMIT 1),
      least(s.close_at, {opened_at} + make_interval(secs => s.close_after_seconds)))
    FROM signals_signal s WHERE s.id = {signal_id})"""


class Targets(NamedTuple):
    """The targets of a signal, the nearest first, and the fraction that each of them closes."""

    id: int  # the signal's
    prices: list[Decimal]
    fractions: list[Decimal]


_TARGETS = Query(
    Targets,
    f"""
SELECT s.id, {TARGET_PRICES} AS prices, {TARGET_FRACTIONS} AS fractions
FROM signals_signal s{JOIN}
WHERE s.id = ANY(%s::bigint[])
""",
)


def targets_by_signal(ids: Collection[int]) -> dict[int, Targets]:
    """Return the targets that these signals have now, by their ids.

    Call it where all signals are visible (`for_all_tenants`), for positions that the caller may
    see: those follow a MODIFY also after their owner has left the feed.
    """
    return {row.id: row for row in rows(_TARGETS, (array(ids),))}


def ids_with_levels(ids: Collection[int]) -> set[int]:
    """Return the ids among these of signals that have a stop or a target now."""
    return {row.id for row in rows(_WITH_LEVELS, (array(ids),))}


def newest_modify(opened: Signal, name: str) -> Signal | None:
    """Return the newest published MODIFY of a signal that set this field."""
    is_list = name == "target_prices"
    is_set: dict[str, int] = {f"{name}__len__gt": 0} if is_list else {f"{name}__isnull": False}
    followers = Signal.objects.published().filter(
        refers_to=opened.pk, action=Action.MODIFY, **is_set
    )
    newest: Signal | None = followers.order_by("-published_at", "-pk").first()
    return newest


def stop_now(opened: Signal) -> Decimal | None:
    """Return the stop that a signal has now: of the newest MODIFY that set one, else its own."""
    stop: Decimal | None = (newest_modify(opened, "sl") or opened).sl
    return stop


def targets_now(opened: Signal) -> list[Decimal]:
    """Return the targets that a signal has now, the nearest first."""
    prices: list[Decimal] = (newest_modify(opened, "target_prices") or opened).target_prices
    return prices
