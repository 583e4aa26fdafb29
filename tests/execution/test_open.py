"""What an account has open, told to the rooms below."""

import pytest

from common.sql import run
from connections.models import ExecutionConnection
from connections.open import Open, in_words, what_is_open
from execution.models import Order
from signals.models import Feed
from tests.execution import cast

pytestmark = pytest.mark.django_db(transaction=True)


def test_positions_and_what_is_or_may_be_at_the_broker(
    alice: ExecutionConnection, feed: Feed
) -> None:
    assert what_is_open(alice.pk) == []
    cast.signal(feed)
    assert what_is_open(alice.pk) == []  # still here: PENDING
    cast.live_lease()
    cast.claim_all()
    entry = Order.objects.get()
    assert what_is_open(alice.pk) == [Open(entry.symbol, "an order that is SUBMITTING")]
    run("UPDATE execution_order SET status = 'UNKNOWN'")
    assert what_is_open(alice.pk) == [Open(entry.symbol, "an order that is UNKNOWN")]
    cast.tell(cast.fill_report(entry, 100, "f1"))
    (position,) = what_is_open(alice.pk)[:1]
    assert position == Open(entry.symbol, "an open position")


def test_it_is_said_in_words() -> None:
    one = Open("BTC/USDT", "an open position")
    assert in_words([one]) == "BTC/USDT (an open position)"
    assert in_words([one._replace(symbol=name) for name in "ABCDE"]).endswith("and 2 more")
