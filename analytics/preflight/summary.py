"""The result of a replay as it is stored and shown: JSON values, numbers as texts. Pure."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from analytics.preflight.outcome import Fate, Outcome
from analytics.preflight.prices import BASIS_TEXTS, Basis
from analytics.preflight.replay import Replay
from common.currencies import money_places
from common.money import plain, significant
from execution.submission.outcomes import Intent
from execution.submission.sizing import ZERO, Denial

CURVE_POINTS = 240
TENTH = Decimal("0.1")
HUNDRED = Decimal(100)


def summary_of(replay: Replay) -> dict[str, Any]:
    """Return everything that a finished replay shows."""
    outcomes, setting = replay.outcomes, replay.setting
    sent = [one for one in outcomes if isinstance(one.decision, Intent)]
    denied = [one for one in outcomes if one.denial is not None]
    wanted_size, sent_size = _sizes(sent)
    return {
        "until": setting.until.isoformat(),
        "since": _time(outcomes[0].case.signal.published_at) if outcomes else None,
        "currency": setting.currency,
        "balance": _money(setting.balance, setting.currency),
        "signals": len(outcomes),
        "withheld": setting.withheld,
        **_counts(replay),
        "reasons": [
            {"code": code, "count": number} for code, number in _reasons(denied).most_common()
        ],
        **_figures(replay),
        "max_risk_percent": plain(outcomes[0].case.row.terms.limits.max_portfolio_risk_percent)
        if outcomes and outcomes[0].case.row.terms.has_preset
        else "",
        "rounding_percent": _percent(wanted_size - sent_size, wanted_size),
        "debts": _debts(outcomes),
        "bases": dict(Counter(str(_price_basis(one)) for one in outcomes)),
        "result_bases": dict(Counter(str(one.case.course.basis) for one in sent)),
        "rows": [_row(one) for one in reversed(outcomes)],
    }


def _counts(replay: Replay) -> dict[str, int]:
    """Return how many signals have each fate, and of how many trades the result is known."""
    counted = Counter(one.fate for one in replay.outcomes)
    known = sum(_is_result_known(replay, one) for one in replay.outcomes)
    return {str(fate): counted[fate] for fate in Fate} | {"results_known": known}


def _is_result_known(replay: Replay, outcome: Outcome) -> bool:
    """Whether a trade was closed at a known price, or is open and has one."""
    trade = outcome.trade
    if trade is None or not trade.is_filled:
        return False
    return trade.is_over or replay.portfolio.mark(trade, replay.setting.until) is not None


def _figures(replay: Replay) -> dict[str, Any]:
    """Return what the trades made together. All are None if of none of them that is known."""
    setting, curve, currency = replay.setting, replay.curve, replay.setting.currency
    equity = replay.equity(setting.until)
    result = equity - setting.balance
    counts = _counts(replay)
    may_have_one = counts[Fate.TRADED] + counts[Fate.FILL_UNKNOWN]
    figures: dict[str, Any] = {
        "equity": _money(equity, currency),
        "result": _money(result, currency),
        "result_percent": _percent(result, setting.balance),
        "closed": _money(sum((net for _, net in replay.portfolio.closed), ZERO), currency),
        "open": _money(replay.portfolio.unrealized(setting.until), currency),
        "drawdown": _money(curve.deepest, currency),
        "drawdown_percent": plain(curve.deepest_percent.quantize(TENTH)),
        "drawdown_from": _time(curve.deepest_from),
        "drawdown_at": _time(curve.deepest_at),
        "most_risk_percent": plain(curve.most_risk_percent.quantize(TENTH)),
    }
    if may_have_one and not counts["results_known"]:
        figures = dict.fromkeys(figures)
    figures["open_trades"] = len(replay.portfolio.live)
    figures["curve"] = [
        [at.isoformat(), _money(value, currency)] for at, value in _thinned(curve.points)
    ]
    return figures


def _row(outcome: Outcome) -> dict[str, Any]:
    signal, course, decision = outcome.case.signal, outcome.case.course, outcome.decision
    denial = outcome.denial
    row = outcome.case.row
    quantity = decision.whole_quantity if isinstance(decision, Intent) else ZERO
    unrounded = _unrounded(outcome)
    trade = outcome.trade
    return {
        "signal": signal.pk,
        "at": _time(signal.published_at),
        "pair": row.pair,
        "side": row.side,
        "type": row.order_type,
        "stop": plain(_stop(outcome)),
        "stop_unit": str(outcome.unit),
        "wanted": plain(unrounded),
        "sent": plain(quantity) if isinstance(decision, Intent) else "",
        "loss": _percent(unrounded - quantity, unrounded)
        if isinstance(decision, Intent) and unrounded
        else "",
        "code": str(denial.code) if denial else "",
        "detail": _why(denial, row.pair, row.currency or "") if denial else "",
        "note": outcome.note,
        "price": plain(decision.expected_price) if isinstance(decision, Intent) else "",
        "result": _money(trade.result, row.currency or "")
        if trade and _has_result(outcome)
        else "",
        "fate": str(outcome.fate),
        "state": _state(outcome),
        "basis": str(_price_basis(outcome)),
        "basis_text": BASIS_TEXTS[_price_basis(outcome)],
        "result_basis": str(course.basis),
        "explanation": decision.detail if isinstance(decision, Intent) else "",
    }


def _state(outcome: Outcome) -> str:
    trade, course = outcome.trade, outcome.case.course
    match outcome.fate:
        case Fate.DENIED | Fate.NOT_REPLAYED as fate:
            return str(fate)
        case Fate.NOT_FILLED:
            is_over = trade.is_over if trade is not None else course.ended_at is not None
            return "not_filled" if is_over else "waiting"
    if trade is None or course.basis is Basis.UNKNOWN:
        return "unknown"
    return "closed" if trade.is_over else "open"


def _has_result(outcome: Outcome) -> bool:
    trade = outcome.trade
    return trade is not None and trade.is_filled and trade.open < 1


def _why(denial: Denial, pair: str, currency: str) -> str:
    figures = denial.figures(pair, currency)
    return figures.text if figures else denial.detail


def _price_basis(outcome: Outcome) -> Basis:
    market = outcome.case.course.market
    return market.basis if market else Basis.UNKNOWN


def _unrounded(outcome: Outcome) -> Decimal:
    if isinstance(outcome.decision, Intent):
        intent = outcome.decision  # of an entry in slices: of its first slice
        later_slices = intent.whole_quantity - intent.quantity
        return (intent.unrounded_quantity or intent.quantity) + later_slices
    return (outcome.denial.unrounded if outcome.denial else None) or ZERO


def _stop(outcome: Outcome) -> Decimal | None:
    distance = outcome.stop_distance
    return None if distance is None else distance.quantize(TENTH).normalize()


def _sizes(entries: Sequence[Outcome]) -> tuple[Decimal, Decimal]:
    """Return what was wanted and what was sent: notional, so that pairs can be added."""
    wanted = sent = ZERO
    for one in entries:
        if isinstance(one.decision, Intent):
            worth = one.decision.expected_price * one.decision.rate
            wanted += _unrounded(one) * worth
            sent += one.decision.whole_quantity * worth
    return wanted, sent


def _debts(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return what rounding left out, by pair, as `analytics.orders.rounding_debt` counts it."""
    sums: dict[str, tuple[Decimal, int]] = {}
    for one in outcomes:
        unrounded = _unrounded(one)
        is_counted = isinstance(one.decision, Intent) or (one.denial and one.denial.unrounded)
        if not is_counted:
            continue
        sent = one.decision.whole_quantity if isinstance(one.decision, Intent) else ZERO
        debt, entries = sums.get(one.case.row.pair, (ZERO, 0))
        sums[one.case.row.pair] = (debt + unrounded - sent, entries + 1)
    return [
        {"pair": pair, "quantity": plain(significant(debt)), "entries": entries}
        for pair, (debt, entries) in sorted(sums.items())
        if debt
    ]


def _reasons(denied: Sequence[Outcome]) -> Counter[str]:
    return Counter(str(one.denial.code) for one in denied if one.denial)


def _thinned(points: Sequence[tuple[datetime, Decimal]]) -> list[tuple[datetime, Decimal]]:
    """Return at most CURVE_POINTS: of each group its lowest and its last, so no fall is lost."""
    size = max(1, len(points) * 2 // CURVE_POINTS)
    kept: list[tuple[datetime, Decimal]] = []
    for start in range(0, len(points), size):
        group = points[start : start + size]
        lowest = min(group, key=lambda point: point[1])
        kept += [lowest] if lowest == group[-1] else [lowest, group[-1]]
    return kept


def _money(value: Decimal, currency: str) -> str:
    return plain(value.quantize(Decimal(1).scaleb(-money_places(currency)))) or "0"


def _percent(part: Decimal, whole: Decimal) -> str:
    return plain((part * HUNDRED / whole).quantize(TENTH)) if whole > 0 else ""


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
