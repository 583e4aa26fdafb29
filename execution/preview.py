"""The preview of a publication: fan-out's rows, decided by the claim's evaluation, not written.

All candidates are loaded at once. The preview cannot know a margin that only the broker calculates
(it uses our estimate), credentials that cannot be decrypted (this process has no key), and which
accounts are slow at the moment.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from statistics import median_low
from typing import NamedTuple
from uuid import UUID

import structlog
from django.db import transaction

from brokers.registry import capabilities_of
from common.bisection import process_with_bisection
from common.clocks import market_now
from common.db.errors import is_database_trouble
from common.db.sql import Query, kept_plans, rows
from common.money import plain
from common.reason_codes import Code
from connections import session_lanes
from connections.selectors import (
    is_twin_account,
    not_twin_sql,
    open_hosts,
    owner_counts,
    spec_without_credentials,
    windows_open_now,
)
from execution.exits.partial_closes import IS_REACHED_SQL
from execution.fan_out import entry_parameters
from execution.fan_out_sql import LIVE
from execution.preview_rows import load_candidates
from execution.submission.bundle_evaluation import (
    WAITING_FOR_WORKER,
    evaluate,
    load_account_context,
    load_evaluation_context,
)
from execution.submission.deferral import deferred_by_brokers
from execution.submission.outcomes import Decision, Deferred, Intent, Terminated
from execution.submission.rows import OrderRow, SignalRow
from execution.submission.sizing import Denial
from signals.models import Action, Signal
from signals.publishing.preview import (
    MARKET_DENIALS,
    NOT_LISTED,
    SIGNAL_DENIALS,
    Outcome,
    Preview,
    Sizes,
    in_order,
)
from users.tenancy import for_all_tenants

log = structlog.get_logger(__name__)


class _Followers(NamedTuple):
    ids: list[UUID]
    quantity: Decimal


# The accounts that `fan_out` reaches by a CLOSE or MODIFY: those with open positions and those with
# entries that are not filled yet.
FOLLOWERS = Query(
    _Followers,
    f"""
SELECT coalesce(array_agg(DISTINCT connection_id), '{{}}') AS ids,
  coalesce(sum(free), 0) AS quantity FROM (
  SELECT connection_id, quantity - CASE WHEN %(closes)s THEN reserved ELSE 0 END AS free
  FROM positions_executionposition
  WHERE signal_id = %(refers_to)s AND quantity > CASE WHEN %(closes)s THEN reserved ELSE 0 END
  UNION ALL
  SELECT connection_id, 0 AS free FROM execution_order
  WHERE signal_id = %(refers_to)s AND leg::text LIKE 'entry%%' AND status = ANY(%(live)s)
    AND (NOT %(is_part)s OR {IS_REACHED_SQL})
) touched WHERE {not_twin_sql("connection_id")}
""",
)


def preview(signal: Signal) -> Preview:
    """Return the decisions, counted, that a publication now would get. The signal may be unsaved.

    Reads the rows of all tenants; returns only counts.
    """
    with transaction.atomic(), for_all_tenants(), kept_plans():
        return _entries(signal) if signal.action == Action.OPEN else _followers(signal)


def _followers(signal: Signal) -> Preview:
    closes = signal.action == Action.CLOSE
    [followers] = rows(
        FOLLOWERS,
        {
            "refers_to": signal.refers_to_id,
            "closes": closes,
            "is_part": closes and signal.close_fraction < 1,
            "live": LIVE,
        },
        planned_once=True,
    )
    accounts = len(followers.ids)
    owners, others = owner_counts(followers.ids, beside=signal.feed.owner_id)
    return Preview(
        market_now(),
        accounts,
        able_candidates=accounts,
        followers=owners,
        sent_followers=owners,
        sent_others=others,
        quantity=followers.quantity * signal.close_fraction if closes and accounts else None,
    )


def _entries(signal: Signal) -> Preview:
    now = market_now()
    feed = signal.feed
    parameters = entry_parameters(
        signal,
        at=now,
        reaches_admins=feed.reaches_admins,
        owner_only=feed.approved_by_owner and signal.approved_by_id is None,
    )
    loaded, unroutable = load_candidates({**parameters, "signal_id": signal.pk or 0})
    candidates = [row for row in loaded if not is_twin_account(row.type, row.account)]
    pending = [row for row in candidates if row.status == "PENDING"]
    skipped: Counter[tuple[Outcome, Code | None]] = Counter(
        _counted(Outcome.SKIPPED, Code[row.reason]) for row in candidates if row.status == "SKIPPED"
    )
    draft = signal_row(signal, now)
    evaluations = _evaluate_pending(pending, draft, unroutable) if pending else []
    sent = {one.row.owner_id for one in evaluations if isinstance(one.decision, Intent)}
    owners = {row.owner_id for row in candidates}
    return replace(
        _summary(now, skipped, evaluations),
        followers=len(owners),
        sent_followers=len(sent),
        sent_others=len(sent - {feed.owner_id}),
        is_owners_alone=owners == {feed.owner_id},
    )


def signal_row(signal: Signal, now: datetime) -> SignalRow:
    """Return the signal as `claim_sql.SIGNALS` would if it were published at this market time."""
    return SignalRow(
        id=signal.pk or 0,
        feed_id=signal.feed_id,
        direction=signal.direction,
        order_type=signal.order_type,
        open_price=signal.open_price,
        trail_distance=signal.trail_distance,
        trail_pips=signal.trail_pips,
        trail_percent=signal.trail_percent,
        activation_price=signal.activation_price,
        published_at=now,
        valid_until=signal.valid_until,
        max_slippage_pips=signal.max_slippage_pips,
        max_slippage_unit=signal.max_slippage_unit,
        max_spread=signal.max_spread,
        max_spread_unit=signal.max_spread_unit,
        risk_category=signal.risk_category,
        provider_quantity=signal.provider_quantity,
        provider_equity=signal.provider_equity,
        provider_currency=signal.provider_currency,
        cancelled_at=signal.cancelled_at,
        max_signal_notional=signal.feed.max_signal_notional,
        max_signal_currency=signal.feed.max_signal_currency,
        sl=signal.sl,
        target_prices=signal.target_prices or [],
        target_fractions=signal.target_fractions or [],
        is_closed=False,
        execution_style=signal.execution_style,
        duration_seconds=signal.duration_seconds,
        slice_count=signal.slice_count,
        slice_variation=signal.slice_variation,
        price_limit=signal.price_limit,
        trail_atr=signal.trail_atr,
        trail_atr_minutes=signal.trail_atr_minutes,
    )


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """A candidate's decision. final: the decision after its wait, the same if it does not wait."""

    row: OrderRow
    decision: Decision
    final: Decision


def _evaluate_pending(
    pending: Sequence[OrderRow], draft: SignalRow, unroutable: Mapping[int, Denial]
) -> list[_Evaluation]:
    """Decide candidates as a claim would; one that causes an error in our code is denied alone.

    Raises failures of the database. Any other database error rolls back only the group it came in.
    """

    def together(some: Sequence[OrderRow]) -> list[_Evaluation]:
        with transaction.atomic():
            return _evaluated(some, draft, unroutable)

    def alone(row: OrderRow, error: Exception) -> list[_Evaluation]:
        log.error("preview.candidate_breaks", connection=row.connection_id, error=repr(error))
        broken = Denial(Code.ORDER_PROCESSING_FAILED)
        return [_Evaluation(row, broken, broken)]

    parts = process_with_bisection(pending, together, alone, is_not_item_error=is_database_trouble)
    return [evaluation for part in parts for evaluation in part]


def _evaluated(
    pending: Sequence[OrderRow], draft: SignalRow, unroutable: Mapping[int, Denial]
) -> list[_Evaluation]:
    specs = {row.connection_id: spec_without_credentials(row) for row in pending}
    context = replace(load_evaluation_context(pending, {draft.id: draft}), unroutable=unroutable)
    lanes = session_lanes.lanes_without_worker(session_lanes.HANDOVER_SECONDS)
    deferred = deferred_by_brokers(pending, open_hosts(), windows_open_now())
    deferred |= {row.connection_id: WAITING_FOR_WORKER for row in pending if row.lane in lanes}
    accounts = load_account_context(pending, specs, deferred, capabilities_of=capabilities_of)
    decisions = evaluate(pending, context, accounts, specs)
    waiting = [row for row, decision in decisions if isinstance(decision, Deferred)]
    waiting = [row._replace(awaits_condition=False) for row in waiting]
    after_wait = evaluate(waiting, context, replace(accounts, deferred={}), specs)
    final = {row.id: decision for row, decision in after_wait}
    return [_Evaluation(row, decision, final.get(row.id, decision)) for row, decision in decisions]


def _summary(
    now: datetime, skipped: Counter[tuple[Outcome, Code | None]], evaluations: Sequence[_Evaluation]
) -> Preview:
    counts = skipped
    for evaluation in evaluations:
        if isinstance(evaluation.decision, Deferred):
            counts[Outcome.WAITING, evaluation.decision.code] += 1
        elif denial := _denial(evaluation.decision):
            counts[_counted(Outcome.DENIED, denial.code)] += 1
    sent = [
        (e.row.type, e.decision.whole_quantity)
        for e in evaluations
        if isinstance(e.decision, Intent)
    ]

    able_after_wait = sum(
        isinstance(e.decision, Deferred) and not _is_denied_for_signal(e.final) for e in evaluations
    )
    return Preview(
        as_of=now,
        sent=len(sent),
        reasons=in_order(counts),
        sizes=tuple(_sizes(sent)),
        common_denials=_common_denials(evaluations),
        able_candidates=len(sent) + able_after_wait,
        correlated=sum(
            isinstance(e.decision, Intent) and bool(e.decision.warning) for e in evaluations
        ),
        quantity=sum((quantity for _, quantity in sent), Decimal(0)) if sent else None,
    )


def _counted(usual: Outcome, code: Code) -> tuple[Outcome, Code | None]:
    """Return the key under which a candidate is counted.

    A symbol that its broker does not list is neither a limit nor an obstacle of the account.
    """
    return (Outcome.NOT_LISTED if code in NOT_LISTED else usual), code


def _denial(decision: Decision) -> Denial | None:
    if isinstance(decision, Terminated):
        return decision.denial
    return decision if isinstance(decision, Denial) else None


def _is_denied_for_signal(decision: Decision) -> bool:
    denial = _denial(decision)
    return denial is not None and denial.code in SIGNAL_DENIALS


def _common_denials(evaluations: Iterable[_Evaluation]) -> dict[Code, str]:
    """Return the denials that the signal or the current market causes, the most frequent first.

    The text has the figures of one account.
    """
    counts: Counter[Code] = Counter()
    figures: dict[Code, str] = {}
    for evaluation in evaluations:
        denial = _denial(evaluation.final)
        if denial is None or denial.code not in SIGNAL_DENIALS.keys() | MARKET_DENIALS:
            continue
        counts[denial.code] += 1
        figures.setdefault(denial.code, _figures(denial))
    return {code: figures[code] for code, _ in counts.most_common()}


def _figures(denial: Denial) -> str:
    if denial.code == Code.ORDER_TYPE_UNSUPPORTED:  # its detail is the type or time in force
        return f"It has no {denial.detail}."
    if denial.code == Code.PRICE_UNREASONABLE:  # the maximum is the account's own
        return f"{denial.detail}."
    if denial.code == Code.SPREAD_LIMIT:
        return f"It is {plain(denial.value)} {denial.detail}."
    if denial.code == Code.PROVIDER_SIZE_MISSING:  # its detail names the fields
        return f"It lacks {denial.detail}."
    if denial.value is None or denial.maximum is None:
        return ""
    if denial.code == Code.SLICE_PRICE_LIMIT:
        return f"Limit {plain(denial.maximum)}, market {plain(denial.value)}."
    if denial.code == Code.PRICE_WRONG_SIDE:
        return f"Its price {plain(denial.maximum)}, market {plain(denial.value)}."
    if denial.code == Code.ACTIVATION_REACHED:
        return f"It is {plain(denial.maximum)}, market {plain(denial.value)}."
    if denial.code in (Code.TRAIL_TOO_WIDE, Code.DISTANCE_BELOW_TICK, Code.ATR_UNKNOWN):
        return f"{denial.detail}."
    if denial.code == Code.LIMIT_BEYOND_STOP:
        return f"Limit {plain(denial.value)}, stop price {plain(denial.maximum)}."
    if denial.code == Code.EXPIRY_TOO_NEAR:
        return f"It must be at least {plain(denial.maximum)} seconds ahead."
    if denial.code not in (Code.STOP_AT_ENTRY, Code.TARGET_WRONG_SIDE):
        return ""
    if denial.code == Code.TARGET_WRONG_SIDE:
        return f"Entry {plain(denial.maximum)}, level {plain(denial.value)}."
    return f"Entry {plain(denial.value)}, level {plain(denial.maximum)}."


def _sizes(sent: Sequence[tuple[str, Decimal]]) -> Iterable[Sizes]:
    if not sent:
        return
    by_type: dict[str, list[Decimal]] = {"": [quantity for _, quantity in sent]}  # "": all types
    for broker_type, quantity in sent:
        by_type.setdefault(broker_type, []).append(quantity)
    for broker_type, quantities in sorted(by_type.items()):
        yield Sizes(
            broker_type,
            len(quantities),
            min(quantities),
            median_low(quantities),
            max(quantities),
        )
