"""The order of accounts changes with each signal, so no account is always last."""

from collections import defaultdict
from uuid import UUID

import pytest

from common.db.sql import rows
from execution.base.rotation import rotation_of
from execution.models import Order
from execution.recovery import sweeps
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.usefixtures("inline_commits")

ACCOUNTS, SIGNALS = 7, 40


def order_of(signal_id: int) -> list[UUID]:
    """Return the accounts of a signal's orders in sending order."""
    found = Order.objects.filter(signal_id=signal_id).order_by("id")
    return list(found.values_list("connection_id", flat=True))


def test_each_accounts_average_place_is_the_middle(feed: Feed) -> None:
    accounts = [factories.account(feed).pk for _ in range(ACCOUNTS)]
    ranks = defaultdict[UUID, list[int]](list)
    for _ in range(SIGNALS):
        for rank, connection_id in enumerate(order_of(factories.signal(feed).pk)):
            ranks[connection_id].append(rank)
    middle = (ACCOUNTS - 1) / 2
    means = {one: sum(of_one) / SIGNALS for one, of_one in ranks.items()}
    assert means.keys() == set(accounts)
    assert all(len(of_one) == SIGNALS for of_one in ranks.values())
    assert all(abs(mean - middle) < 0.5 for mean in means.values()), sorted(means.values())
    assert all(len(set(of_one)) == ACCOUNTS for of_one in ranks.values())


def test_account_order_depends_on_the_signal_only(feed: Feed) -> None:
    accounts = sorted(factories.account(feed).pk for _ in range(ACCOUNTS))
    for _ in range(3):
        signal = factories.signal(feed)
        first = rotation_of(signal.pk) * ACCOUNTS >> 32
        assert order_of(signal.pk) == accounts[first:] + accounts[:first]


def test_claim_and_poll_keep_the_account_order(feed: Feed) -> None:
    for _ in range(ACCOUNTS):
        factories.account(feed)
    signals = [factories.signal(feed) for _ in range(2)]
    expected = [str(one) for signal in signals for one in order_of(signal.pk)]
    factories.pass_time(2)
    due = sweeps.due(100)
    assert due == factories.pending()
    assert [outgoing.request.connection_id for outgoing in factories.claim_all()] == expected


def test_orders_are_written_by_connection_id(feed: Feed) -> None:
    """Foreign keys lock the connections in writing order: it must be the same for all writers."""
    accounts = sorted(factories.account(feed).pk for _ in range(ACCOUNTS))
    signal = factories.signal(feed)
    written = rows(
        "SELECT connection_id FROM execution_order WHERE signal_id = %s ORDER BY ctid", (signal.pk,)
    )
    assert [row.connection_id for row in written] == accounts
    assert order_of(signal.pk) != accounts or rotation_of(signal.pk) * ACCOUNTS >> 32 == 0
