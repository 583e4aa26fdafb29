"""A settings edit and a claim of the same account run one after the other, in either order."""

from typing import Any

import pytest
from django.db import transaction

from common.db.sql import rows
from common.errors import InvalidInputError
from common.reason_codes import Code
from connections.models import ConnectionHealth, ExecutionConnection
from connections.services import update_connection
from execution.models import Order
from signals.models import Feed
from tests.execution import factories
from tests.execution.test_lock_order import WAITING
from tests.hanging import beside
from tests.until import until

pytestmark = pytest.mark.django_db(transaction=True)
NETTING = {"position_mode": "NETTING"}


@pytest.fixture
def paper(feed: Feed) -> ExecutionConnection:
    """A broker type with a setting that cannot change while something is open."""
    return factories.account(feed, type="paper", settings={"position_mode": "HEDGING"})


def edit(of: ExecutionConnection, outcome: list[Any]) -> None:
    try:
        outcome.append(update_connection(of.pk, by=of.user, settings=NETTING).settings)
    except InvalidInputError as error:
        outcome.append(error.code)


def test_edit_waits_for_an_uncommitted_claim_and_sees_its_order(
    paper: ExecutionConnection, feed: Feed
) -> None:
    factories.signal(feed)
    factories.live_lease()
    outcome: list[Any] = []
    with transaction.atomic():
        [sent] = factories.claim_all()
        editing = beside(lambda: edit(paper, outcome))
        until(lambda: bool(rows(WAITING)) or not editing.is_alive())
        assert outcome == []
    editing.join(120)
    assert outcome == [Code.SETTING_IN_USE]
    paper.refresh_from_db()
    assert paper.settings == sent.spec.settings == {"position_mode": "HEDGING"}


def test_claim_waits_for_an_edit_and_sends_nothing_to_the_old_address(
    paper: ExecutionConnection, feed: Feed
) -> None:
    factories.signal(feed)
    factories.live_lease()
    sent: list[Any] = []
    with transaction.atomic():
        update_connection(paper.pk, by=paper.user, settings=NETTING)
        claiming = beside(lambda: sent.extend(factories.claim_all()))
        until(lambda: bool(rows(WAITING)) or not claiming.is_alive())
        assert claiming.is_alive()
    claiming.join(120)
    assert sent == []  # untested settings take no entry
    assert Order.objects.get().status == "PENDING"
    assert ConnectionHealth.objects.get(pk=paper.pk).status == "UNTESTED"
