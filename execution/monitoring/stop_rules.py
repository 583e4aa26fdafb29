"""Break-even and trailing rules: the stops of open positions follow the price.

Each batch of quotes finds, by an index, the positions whose rule acts at one of its prices. A pure
function (`positions/stop_rules.py`) judges each; one statement stores the result. The broker's stop
follows by the level changes of `level_sync.py`. All that a rule knows is stored with the move, so a
process that dies loses nothing: the next one goes on from the stored stop and the best price.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import orjson
import structlog
from django.db import transaction

from brokers.types import Quote
from common.clocks import machine_time, market_now
from common.db.sql import IdRow, Query, columns, periodic_rows, rows, run
from common.failpoints import failpoint
from common.money import plain, to_stored
from common.reason_codes import Code
from common.stop_rules import ATR, ATR_MINUTES
from execution.base.statements import (
    event_rows_sql,
    insert_events_sql,
    insert_log_sql,
    position_log_rows_sql,
)
from execution.monitoring.stop_failover import FRESH
from positions.row_locks import lock_unlocked
from positions.stop_rule_rows import (
    DUE_RULES,
    JUDGED_COLUMNS,
    JUDGED_SQL,
    REACHED_RULES,
    STORE_ATR,
    StoredRule,
    load_rules_sql,
)
from positions.stop_rules import Judgement, MoveKind, judge
from prices.ranges import price_ranges
from prices.selectors import average_true_range, candles
from prices.source_locks import SourceLocks

log = structlog.get_logger(__name__)
NO_PRICE_SECONDS = 5.0  # a due rule without a fresh price is judged again after this time
NO_ATR_SECONDS = 60.0  # and one whose average true range is not known yet

LOAD = load_rules_sql(FRESH)

# A stop that was changed at the broker waits for a person's decision; we do not replace it.
UNDECIDED = Query(
    IdRow,
    f"""
SELECT DISTINCT position_id AS id FROM execution_driftitem
WHERE position_id = ANY(%s) AND kind = '{Code.LEVELS_DIFFER.value}' AND state = 'OPEN'
""",
)

_CODE = f"""CASE m.kind WHEN '{MoveKind.BREAK_EVEN.value}'
  THEN '{Code.STOP_TO_BREAK_EVEN.value}' ELSE '{Code.STOP_TRAILED.value}' END"""
_DETAIL = """'position ' || m.id || ': stop ' || coalesce(trim_scale(m.expected)::text, 'none')
  || ' to ' || trim_scale(m.stop)::text"""
_LINE = position_log_rows_sql(
    "moved m", code=_CODE, detail=_DETAIL, numbers="m.numbers",
)  # fmt: skip
_MOVED = event_rows_sql(
    "moved m",
    kind="'position.stop_moved'",
    payload="(m.numbers::jsonb || jsonb_build_object('position', m.id))",
    order_id="NULL::bigint",
)
STORE = Query(
    IdRow,
    f"""
{JUDGED_SQL}, logged AS (
  {insert_log_sql(_LINE)}
), notified AS (
  {insert_events_sql(_MOVED)}
)
SELECT id FROM moved
""",
)


@dataclass(frozen=True, slots=True)
class PairPrices:
    """The prices of a pair since a time. began: machine_time() of the first, in seconds."""

    best_bid: Decimal
    best_ask: Decimal
    last_bid: Decimal
    last_ask: Decimal
    began: float

    def followed_by(self, later: "PairPrices") -> "PairPrices":
        """Return the prices of both times."""
        return PairPrices(
            max(self.best_bid, later.best_bid),
            min(self.best_ask, later.best_ask),
            later.last_bid,
            later.last_ask,
            min(self.began, later.began),
        )


Prices = dict[str, PairPrices]  # by pair


class StopRuleMonitor:
    """Applies rules to quotes, and keeps the prices that could not be judged. Thread-safe."""

    def __init__(self) -> None:
        self._unjudged: dict[int, Prices] = {}
        self._locks = SourceLocks()

    def process_quotes(
        self, source_id: int, quotes: Sequence[Quote], waited: float = 0.0
    ) -> list[int]:
        """Move the stops whose rule acts at these quotes; return the positions' ids.

        Prices are kept for the next call if the database fails or a position is locked. waited:
        seconds since the first quote arrived.
        """
        with self._locks.of(source_id):
            prices = _joined(self._unjudged.get(source_id, {}), _prices_of(quotes, waited))
            if not prices:
                return []
            self._unjudged[source_id] = prices
            moved, left = _apply(source_id, prices)
            del self._unjudged[source_id]
            if left:
                self._unjudged[source_id] = {pair: prices[pair] for pair in left}
            return moved


def _prices_of(quotes: Sequence[Quote], waited: float) -> Prices:
    ranges = price_ranges(quotes, machine_time() - waited)
    return {
        pair: PairPrices(one.high_bid, one.low_ask, one.last_bid, one.last_ask, one.began)
        for pair, one in ranges.items()
    }


def _joined(earlier: Prices, later: Prices) -> Prices:
    both = earlier.keys() & later.keys()
    return {**earlier, **later, **{pair: earlier[pair].followed_by(later[pair]) for pair in both}}


def _apply(source_id: int, prices: Prices) -> tuple[list[int], set[str]]:
    """Judge the rules that act at these prices.

    Returns the ids of the positions whose stop moved, and the pairs with a locked position.
    """
    records = [(source_id, pair, one.best_bid, one.best_ask) for pair, one in prices.items()]
    reached = [row.id for row in periodic_rows(REACHED_RULES, columns(records, 4))]
    if not reached:
        return [], set()
    with transaction.atomic():
        locked = lock_unlocked(reached)
        judged = _judge_all(rows(LOAD, (locked,)), prices)
        moved = _store(judged)
    if moved:
        failpoint("stop_rules.committed")
    return moved, set(prices) if len(locked) < len(reached) else set()


def judge_due() -> list[int]:
    """Judge the rules that are due without a new price; return the positions whose stop moved.

    Due are the rules of new positions, those of positions whose stop, entry price or next target
    changed, and moves that had to wait.
    """
    with transaction.atomic():
        due = [row.id for row in rows(DUE_RULES)]
        moved = _store(_judge_all(rows(LOAD, (lock_unlocked(due),)), {})) if due else []
    if moved:
        failpoint("stop_rules.committed")
    return moved


@dataclass(frozen=True, slots=True)
class _Judged:
    """A position, what was judged, and the prices that this was based on."""

    row: StoredRule
    judgement: Judgement
    best: Decimal


def _judge_all(stored: Sequence[StoredRule], prices: Mapping[str, PairPrices]) -> list[_Judged]:
    """Judge positions by the prices since they opened, or by the latest quote."""
    stored = _with_atr(stored)
    undecided = (
        {row.id for row in rows(UNDECIDED, ([row.id for row in stored],))} if stored else set()
    )
    now = machine_time()
    judged = []
    for row in stored:
        is_buy = row.side == "BUY"
        seen = prices.get(row.pair)
        last = row.bid if is_buy else row.ask
        best = last
        if seen is not None:
            last = seen.last_bid if is_buy else seen.last_ask
            is_since_opened = row.age >= now - seen.began
            best = (seen.best_bid if is_buy else seen.best_ask) if is_since_opened else last
        if best is None or last is None or not row.is_open or _lacks_atr(row):
            judged.append(_Judged(row, _unpriced(row), row.entry_price))
            continue
        if row.id in undecided:
            row = replace(row, wait=max(row.wait, float(row.min_seconds)))
        judged.append(_Judged(row, judge(row, best=best, last=last), best))
    return judged


def _lacks_atr(row: StoredRule) -> bool:
    return row.atr is None and ATR in (row.break_even_unit, row.trailing_unit)


def _with_atr(stored: Sequence[StoredRule]) -> Sequence[StoredRule]:
    """Fix the average true range of rules in ATR, where there are enough prices for it."""
    lacking = [row for row in stored if row.is_open and _lacks_atr(row)]
    if not lacking:
        return stored
    pairs = {(row.source_id, row.pair) for row in lacking if row.source_id is not None}
    series = candles(pairs, minutes=ATR_MINUTES, now=market_now())
    known = {
        row.id: to_stored(atr)
        for row in lacking
        if (atr := average_true_range(series.get((row.source_id or 0, row.pair), [])))
    }
    if known:
        run(STORE_ATR, columns(list(known.items()), 2))
    return [replace(row, atr=known.get(row.id, row.atr)) for row in stored]


def _unpriced(row: StoredRule) -> Judgement:
    """Return that nothing changes until there is a price, or for good if it is closed."""
    due_in = (NO_ATR_SECONDS if _lacks_atr(row) else NO_PRICE_SECONDS) if row.is_open else None
    return Judgement(
        None, None, row.break_even_done, row.water_mark, row.resumes_beyond, None, due_in
    )


def _store(judged: Sequence[_Judged]) -> list[int]:
    """Store what was judged of locked positions; return the ids of those whose stop moved."""
    if not judged:
        return []
    records = columns([_record(one) for one in judged], JUDGED_COLUMNS)
    moved = {row.id for row in rows(STORE, records)}
    for one in judged:
        if one.row.id in moved:
            log.info("stop moved", position=one.row.id, **_numbers(one))
    return sorted(moved)


def _record(one: _Judged) -> tuple[object, ...]:
    judgement = one.judgement
    return (
        one.row.id,
        judgement.stop,
        one.row.sl,
        judgement.kind.value if judgement.kind else "",
        judgement.break_even_done,
        judgement.water_mark,
        judgement.resumes_beyond,
        judgement.next_price,
        judgement.due_in,
        orjson.dumps(_numbers(one)).decode(),
    )


def _numbers(one: _Judged) -> dict[str, str]:
    """Return the numbers of a move, for log, event and log line."""
    judgement = one.judgement
    return {
        "stop_before": plain(one.row.sl),
        "stop": plain(judgement.stop),
        "price": plain(one.best),
        "best_price": plain(judgement.water_mark),
        "rule": judgement.kind.value if judgement.kind else "",
    }
