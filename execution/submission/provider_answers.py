"""What a decision provider's answer means for an entry at the claim.

`execution/decision_step/` asks the providers before the claim. The claim only reads what they
answered: an entry without a recent answer waits for one. Exits are never asked about.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from common.db.sql import Query, columns, rows
from common.reason_codes import Code
from connections.models import DecisionProvider, FailRule
from execution.submission.outcomes import Deferred
from execution.submission.rows import OrderRow
from execution.submission.sizing import ONE, Denial

MAX_FACTOR = Decimal(3)


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored answer about an entry. age, max_age: seconds since the provider was asked.

    factor: None if there was no valid answer; `failure` then states why.
    """

    provider: str
    on_failure: str
    age: float
    max_age: float
    factor: Decimal | None
    reason: str = ""
    failure: str = ""


class AnswerRow(NamedTuple):
    """The last answer about an order's present attempt."""

    order_id: int
    factor: Decimal | None
    reason: str
    failure: str
    detail: str
    age: float


ANSWERS = Query(
    AnswerRow,
    """
SELECT d.order_id, d.factor, d.reason, d.failure, d.detail,
  extract(epoch FROM clock_timestamp() - d.asked_at)::float8 AS age
FROM unnest(%s::bigint[], %s::bigint[], %s::int[]) AS k(order_id, provider_id, attempt)
JOIN execution_entrydecision d ON d.order_id = k.order_id AND d.provider_id = k.provider_id
  AND d.attempt = k.attempt
""",
)


def load_scales(pending: Sequence[OrderRow]) -> dict[int, Decimal | Denial | Deferred]:
    """Return what the stored answers make of the entries whose presets have a provider, by order.

    Later slices of an entry are not asked about. Reads nothing if no preset has one.
    """
    asked = {
        row.id: (row.id, row.terms.decision_provider_id, row.attempt)
        for row in pending
        if row.terms.decision_provider_id is not None and row.leg == "entry"
    }
    if not asked:
        return {}
    providers = DecisionProvider.objects.in_bulk({key[1] for key in asked.values()})
    answers = {row.order_id: row for row in rows(ANSWERS, columns(list(asked.values()), 3))}
    return {
        order_id: scale_of(_answer(providers.get(key[1] or 0), answers.get(order_id)))
        for order_id, key in asked.items()
    }


def _answer(provider: DecisionProvider | None, row: AnswerRow | None) -> Answer | None:
    if row is None or provider is None:
        return None
    failure = f"{row.failure} {row.detail}".strip() if row.failure else ""
    return Answer(
        provider.name, provider.on_failure, row.age, provider.max_age_seconds, row.factor,
        row.reason, failure,
    )  # fmt: skip


def scale_of(answer: Answer | None) -> Decimal | Denial | Deferred:
    """Return by what an entry's size is multiplied, or why it is not sent now. Pure.

    Without an answer, or if it has become too old, the entry waits for one.
    """
    if answer is None or not 0 <= answer.age <= answer.max_age:
        return Deferred(Code.DECISION_AWAITED)
    if answer.factor is None:
        if answer.on_failure == FailRule.OPEN:
            return ONE
        return Denial(Code.DECISION_UNAVAILABLE, detail=f"{answer.provider}: {answer.failure}")
    if answer.factor == 0:
        reason = answer.reason or "no reason given"
        return Denial(Code.DECISION_REJECTED, detail=f"{answer.provider}: {reason}")
    if not 0 < answer.factor <= MAX_FACTOR:  # the database refuses it too
        return Denial(Code.DECISION_UNAVAILABLE, answer.factor, MAX_FACTOR, answer.provider)
    return answer.factor
