"""The database rejects each status change of an order that the transition table lacks."""

from contextlib import suppress
from itertools import permutations

import pytest
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from execution.models import Order, Status
from execution.reports.transitions import ALLOWED
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.django_db


@pytest.mark.usefixtures("alice")
def test_database_allows_the_transitions_of_the_table_only(feed: Feed) -> None:
    factories.signal(feed)
    (outgoing,) = factories.claim_all()  # sized: it may have any status
    row = Order.objects.filter(pk=outgoing.request.order_id)
    allowed = set()
    for current, to in permutations(Status, 2):
        with suppress(IntegrityError), transaction.atomic():
            _move(row, current, to)
            allowed.add((current, to))
    assert allowed == set(ALLOWED)
    with pytest.raises(IntegrityError, match="may not move from EXPIRED to PENDING"):
        _move(row, Status.EXPIRED, Status.PENDING)


@pytest.mark.usefixtures("alice")
def test_statement_that_keeps_the_status_is_allowed_in_any_state(feed: Feed) -> None:
    factories.signal(feed)
    factories.claim_all()
    for status in Status:
        with factories.without_triggers():
            Order.objects.update(status=status)
        assert Order.objects.update(status=status, detail="seen") == 1


def _move(order: QuerySet[Order], current: Status, to: Status) -> None:
    with factories.without_triggers():
        order.update(status=current)
    order.update(status=to)
