"""Each broker's word for "that position is closed" is one code of ours: the account is compared."""

import pytest

from brokers.base import Rejected
from brokers.crypto import codes as crypto
from brokers.crypto.exchanges import Envelope
from brokers.dwx import codes as dwx
from brokers.dwx.parse import Message
from brokers.ibkr import codes as ibkr
from brokers.mt5 import codes as mt5
from common.reason_codes import Code


def test_metatrader_5_reports_it_by_code() -> None:
    verdict = mt5.verdict(10036, "Position closed")
    assert isinstance(verdict, Rejected)
    assert verdict.code is Code.NO_POSITION


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("CLOSE_ORDER_SELECT_TICKET", "Could not select order with ticket: 1001"),
        ("CLOSE_ORDER_TICKET", "Could not close position 1001: invalid ticket"),
    ],
)
def test_metatrader_4_does_not_know_the_ticket(kind: str, text: str) -> None:
    verdict = dwx.outcome_of(Message(1, kind, text))
    assert isinstance(verdict, Rejected)
    assert verdict.code is Code.NO_POSITION


@pytest.mark.parametrize(
    ("envelope", "number"),
    [
        (Envelope.BINANCE, "-2022"),
        (Envelope.BYBIT, "110017"),
        (Envelope.OKX, "51169"),
        (Envelope.OKX, "51112"),
    ],
)
def test_exchanges_refuse_a_reduce_only_order(envelope: Envelope, number: str) -> None:
    verdict = crypto.verdict_of(envelope, number, "")
    assert verdict is not None
    assert verdict.code is Code.NO_POSITION


def test_ibkr_refuses_an_exit_of_a_group_that_has_been_filled() -> None:
    text = "Order rejected - reason:OCA group is already filled."
    assert ibkr.rejection_code(201, text) is Code.NO_POSITION
    other = "Order rejected - reason:OCA group revision is not allowed."
    assert ibkr.rejection_code(201, other) is not Code.NO_POSITION
