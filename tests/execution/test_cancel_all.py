"""`manage.py cancel_all`: asks first, cancels what is not filled, leaves the rest."""

import json

import pytest
from django.core.management import CommandError, call_command

from execution.models import Order
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def two_entries(feed: Feed) -> list[Order]:
    factories.account(feed)
    factories.account(feed)
    factories.signal(feed)
    return list(Order.objects.order_by("pk"))


def states() -> set[str]:
    return set(Order.objects.values_list("status", flat=True))


def test_it_asks_before_it_cancels(two_entries: list[Order]) -> None:
    with pytest.raises(CommandError, match="2 entries would be cancelled"):
        call_command("cancel_all")
    assert states() == {"PENDING"}


def test_it_cancels_what_is_not_sent(
    two_entries: list[Order], capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("cancel_all", yes=True)
    assert states() == {"CANCELLED"}
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"cancelled": 2}


def test_one_connection_only(two_entries: list[Order]) -> None:
    call_command("cancel_all", connection=two_entries[0].connection_id, yes=True)
    assert [o.status for o in Order.objects.order_by("pk")] == ["CANCELLED", "PENDING"]


def test_what_is_filled_stays(two_entries: list[Order]) -> None:
    factories.fill_all()
    call_command("cancel_all", yes=True)
    assert states() == {"FILLED"}
