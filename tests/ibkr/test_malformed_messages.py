"""To whom a malformed or partial message may be quoted."""

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


def cache_with_order(**fields: bool) -> OrderCache:
    """Return a cache with one order: id 12, contract 345."""
    cache, record = OrderCache(EventBuffer()), Record("c1", ID, "", order_id=12, con_id=345)
    for name, value in fields.items():
        setattr(record, name, value)
    cache.keep(record, 7)
    return cache


@pytest.mark.parametrize(
    ("raw", "is_quoted"),
    [
        ("61|3|DU1|invalid", True),
        ("61|3|DU2|invalid", False),
        ("61|3|DU1|DU2", False),  # names two accounts
        ("5|12|345|EUR|CASH", True),  # a partial answer: its account is missing
        ("5|12|346|EUR|CASH", False),  # another client's order with the same id
        ("5|12", False),
        ("5|12|345|EUR|DU2", False),
        ("5|13|345|EUR|CASH", False),
        ("3|12|Filled|x", True),
        ("4|2|12|399|what", True),
        ("4|2|-1|2104|what", False),
        ("10|12|345", False),  # not about an order
        ("", False),
    ],
)
def test_malformed_message_is_quoted_to_its_account_only(raw: str, is_quoted: bool) -> None:
    quoted = quotable_text(raw, PLACE, LOGIN, cache_with_order(awaited=True))
    assert quoted == (raw if is_quoted else "TWS sent an invalid message (see the log)")


def test_quoted_text_of_a_long_message_is_bounded() -> None:
    quoted = quotable_text("61|3|DU1|" + "x" * 5_000_000 + "|end", PLACE, LOGIN, cache_with_order())
    assert quoted.startswith("61|3|DU1|x")
    assert quoted.endswith("x|end")
    assert len(quoted) < 2000  # what the execution log stores


@pytest.mark.parametrize(
    ("fields", "is_quoted"), [({}, False), ({"awaited": True}, True), ({"cancelling": True}, True)]
)
def test_order_id_identifies_a_message_while_its_order_awaits_an_answer(
    fields: dict[str, bool], is_quoted: bool
) -> None:
    raw = "3|12|Filled|x"
    assert (quotable_text(raw, PLACE, LOGIN, cache_with_order(**fields)) == raw) is is_quoted


@with_environment
async def test_partial_answer_is_quoted_and_order_is_found(stage: Environment) -> None:
    await stage.submit(limit("abc00000000000002"))
    stage.fault("half")
    with pytest.raises(OutcomeUnknown) as unknown:
        await stage.submit(limit())
    assert stage.tws.last_partial_answer.startswith("5|")
    assert unknown.value.detail == stage.tws.last_partial_answer
    assert await stage.find(ID) is not None
