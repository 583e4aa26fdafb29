"""What a refusal means: of the expert advisor, of the terminal, of the broker."""

import pytest

from brokers.base import NotSent, OutcomeUnknown, Rejected
from brokers.dwx import codes
from brokers.dwx.parse import Message
from common.reason_codes import Code


@pytest.mark.parametrize(("kind", "code"), sorted(codes.BY_EXPERT_ADVISOR.items()))
def test_what_the_expert_advisor_refuses(kind: str, code: Code) -> None:
    outcome = codes.outcome_of(Message(1, kind, "words"))
    assert (type(outcome), outcome.code, outcome.detail) == (Rejected, code, "words")


@pytest.mark.parametrize(("words", "code"), sorted(codes.REJECTED.items()))
def test_what_the_broker_refuses(words: str, code: Code) -> None:
    outcome = codes.outcome_of(Message(1, "OPEN_ORDER", f"Could not open order: {words}"))
    assert (type(outcome), outcome.code) == (Rejected, code)


@pytest.mark.parametrize(("words", "code"), sorted(codes.NOT_SENT.items()))
def test_what_the_terminal_keeps(words: str, code: Code) -> None:
    outcome = codes.outcome_of(
        Message(1, "CLOSE_ORDER_TICKET", f"Could not close position 5: {words}")
    )
    assert (type(outcome), outcome.code) == (NotSent, code)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("OPEN_ORDER", "trade timeout"), ("OPEN_ORDER", "no error"), ("NEW", "not enough money")],
)
def test_what_is_in_no_table(kind: str, words: str) -> None:
    outcome = codes.outcome_of(Message(1, kind, f"Could not open order: {words}"))
    assert (type(outcome), outcome.code) == (OutcomeUnknown, Code.REPLY_LOST)
    assert words in outcome.detail


def test_bounds_of_an_unknown_symbol() -> None:
    text = "Lot size out of range (min: 0.000000, max: 0.000000): 0.100000"
    outcome = codes.outcome_of(Message(1, "OPEN_ORDER_LOTSIZE_OUT_OF_RANGE", text))
    assert (type(outcome), outcome.code) == (Rejected, Code.UNKNOWN_SYMBOL_AT_BROKER)
