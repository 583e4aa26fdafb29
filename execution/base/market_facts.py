"""What we remember of a market, and what a broker's refusal does to it.

Steps, ticks, minimums, hours and trading flags were read earlier, so they may be wrong by now. They
shape entries, and no more than shape an exit: the broker decides about it. A refusal that may
contradict them has them read again at once (`connections.services.doubt_instruments`), and an exit
that was refused for its size is computed again (`submission/evaluate_exit.py`).
"""

from collections.abc import Collection
from functools import partial
from uuid import UUID

from django.db import transaction

from brokers.base import Rejected
from brokers.types import OrderReport, ReportKind
from common.process.job_alarm import JobAlarm
from common.reason_codes import Code
from connections.services import doubt_instruments

CONTRADICTING = frozenset({
    Code.VOLUME_INVALID, Code.PRICE_INVALID, Code.STOPS_INVALID, Code.MARKET_CLOSED,
    Code.SYMBOL_TRADING_DISABLED, Code.UNKNOWN_SYMBOL_AT_BROKER, Code.ORDER_TYPE_UNSUPPORTED,
})  # fmt: skip
"""Refusals that what is remembered of a market may have caused."""

_REFUSALS = frozenset({ReportKind.REJECTED, ReportKind.CANCELLED, ReportKind.EXPIRED})

renewals = JobAlarm()
"""Of this process's job that reads contradicted facts again: an exit may wait for them."""


def contradicts(report: OrderReport) -> bool:
    """Return whether a report may contradict what is remembered of its market."""
    return report.kind in _REFUSALS and report.code in CONTRADICTING


def is_contradiction(answer: object) -> bool:
    """Return whether the answer to a change of levels or of an order may contradict it."""
    return isinstance(answer, Rejected) and answer.code in CONTRADICTING


def doubt_facts(connection_ids: Collection[UUID]) -> None:
    """Have the brokers' lists of symbols of these accounts read again, once this commits."""
    if connection_ids:
        doubt_instruments(connection_ids)
        transaction.on_commit(partial(renewals.set, 0.0))
