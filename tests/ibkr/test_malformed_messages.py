"""Who may read what of a message that makes no sense, or of which only half came."""

import pytest

from brokers.base import OutcomeUnknown
from brokers.event_buffer import EventBuffer
from brokers.ibkr.endpoint import Endpoint
from brokers.ibkr.malformed_messages import quotable_text
from brokers.ibkr.order_cache import OrderCache
from brokers.ibkr.order_records import Record
from tests.ibkr.factories import Environment, limit, with_environment

ID = "abc00000000000001"
PLACE = Endpoint("c1", "DU1", "127.0.0.1", 4002, 7, "UTC", {})
LOGIN = ["DU1", "DU2"]


def ledger(**said: bool) -> OrderCache:
    """With one order: number 12, contract 345."""
    made, record = OrderCache(EventBuffer()), Record("c1", ID, "", order_id=12, con_id=345)
    for name, value in said.items():
        setattr(record, name, value)
    made.keep(record, 7)
    return made


@pytest.mark.parametrize(
    ("raw", "is_read"),
    [
        ("61|3|DU1|nonsense", True),
        ("61|3|DU2|nonsense", False),
        ("61|3|DU1|DU2", False),  # of two accounts at once
        ("5|12|345|EUR|CASH", True),  # half of an answer: its account has not come
        ("5|12|346|EUR|CASH", False),  # another client's, by the same number
        ("5|12", False),
        ("5|12|345|EUR|DU2", False),
        ("5|13|345|EUR|CASH", False),
        ("3|12|Filled|x", True),
        ("4|2|12|399|what", True),
        ("4|2|-1|2104|what", False),
        ("10|12|345", False),  # no message about an order
        ("", False),
    ],
)
def test_a_message_is_read_by_its_accounts_owner(raw: str, is_read: bool) -> None:
    quoted = quotable_text(raw, PLACE, LOGIN, ledger(awaited=True))
    assert quoted == (raw if is_read else "TWS sent an invalid message (see the log)")


def test_what_is_read_of_a_long_one_is_bounded() -> None:
    quoted = quotable_text("61|3|DU1|" + "x" * 5_000_000 + "|end", PLACE, LOGIN, ledger())
    assert quoted.startswith("61|3|DU1|x")
    assert quoted.endswith("x|end")
    assert len(quoted) < 2000  # what the order's log keeps


@pytest.mark.parametrize(
    ("said", "is_read"), [({}, False), ({"awaited": True}, True), ({"cancelling": True}, True)]
)
def test_a_number_counts_while_its_order_waits_for_an_answer(
    said: dict[str, bool], is_read: bool
) -> None:
    raw = "3|12|Filled|x"
    assert (quotable_text(raw, PLACE, LOGIN, ledger(**said)) == raw) is is_read


@with_environment
async def test_half_an_answer_is_kept_and_the_order_is_found(stage: Environment) -> None:
    await stage.submit(limit("abc00000000000002"))
    stage.fault("half")
    with pytest.raises(OutcomeUnknown) as unknown:
        await stage.submit(limit())
    assert stage.tws.last_half.startswith("5|")
    assert unknown.value.detail == stage.tws.last_half
    assert await stage.find(ID) is not None
