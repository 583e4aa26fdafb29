"""Errors of the expert advisor, the terminal and the broker, and the outcomes that they mean."""

import pytest

from brokers.base import NotSent, OutcomeUnknown, Rejected
from brokers.dwx import codes
from brokers.dwx.parse import Message
from common.reason_codes import Code


@pytest.mark.parametrize(("kind", "code"), sorted(codes.BY_EXPERT_ADVISOR.items()))
def test_errors_of_expert_advisor_are_rejections(kind: str, code: Code) -> None:
    outcome = codes.outcome_of(Message(1, kind, "text"))
    assert (type(outcome), outcome.code, outcome.detail) == (Rejected, code, "text")


@pytest.mark.parametrize(("text", "code"), sorted(codes.REJECTED.items()))
def test_errors_of_broker_are_rejections(text: str, code: Code) -> None:
    outcome = codes.outcome_of(Message(1, "OPEN_ORDER", f"Could not open order: {text}"))
    assert (type(outcome), outcome.code) == (Rejected, code)


@pytest.mark.parametrize(("text", "code"), sorted(codes.NOT_SENT.items()))
def test_errors_of_terminal_mean_not_sent(text: str, code: Code) -> None:
    outcome = codes.outcome_of(
        Message(1, "CLOSE_ORDER_TICKET", f"Could not close position 5: {text}")
    )
    assert (type(outcome), outcome.code) == (NotSent, code)


@pytest.mark.parametrize(
    ("kind", "text"),
    [("OPEN_ORDER", "trade timeout"), ("OPEN_ORDER", "no error"), ("NEW", "not enough money")],
)
def test_unlisted_errors_are_unknown(kind: str, text: str) -> None:
    outcome = codes.outcome_of(Message(1, kind, f"Could not open order: {text}"))
    assert (type(outcome), outcome.code) == (OutcomeUnknown, Code.REPLY_LOST)
    assert text in outcome.detail


@pytest.mark.parametrize("most", ["0.000000", "(non-string passed)", ""])
def test_lot_range_of_zero_means_unknown_symbol(most: str) -> None:
    """Older versions of the expert advisor write the maximum by a wrong format."""
    text = f"Lot size out of range (min: 0.000000, max: {most}): 0.100000"
    outcome = codes.outcome_of(Message(1, "OPEN_ORDER_LOTSIZE_OUT_OF_RANGE", text))
    assert (type(outcome), outcome.code) == (Rejected, Code.UNKNOWN_SYMBOL_AT_BROKER)
