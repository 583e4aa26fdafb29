"""`manage.py explain`: an order's state, the figures of its denial, and its log."""

from decimal import Decimal as D

import pytest
from django.core.management import CommandError, call_command

from execution.models import Order
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db


def explained(capsys: pytest.CaptureFixture[str], number: str) -> str:
    call_command("explain", number)
    return capsys.readouterr().out


def test_denied_order_is_explained_with_its_figures(
    feed: Feed, broker: FakeBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    factories.account(feed, preset_max_quantity=D(99))
    factories.signal(feed)
    factories.claim_all()
    number = Order.objects.get().pk
    text = explained(capsys, f"O-{number}")
    assert text == explained(capsys, str(number))
    first, summary, why, code, *log = text.splitlines()
    assert first.startswith(f"O-{number}")
    assert summary.startswith("Denied by our rules: ")
    assert why.startswith("Quantity: 100 EUR, maximum 99 EUR. Nothing was sent.")
    assert code == "Code MAX_QUANTITY"
    assert [line.split()[3:5] for line in log][1] == ["DENIED", "MAX_QUANTITY"]
    assert log[1].endswith("Quantity: 100 EUR, maximum 99 EUR.")


@pytest.mark.parametrize("number", ["O-1", "first", "99999999999999999999", "²"])
def test_unknown_order_is_refused(db: None, number: str) -> None:
    with pytest.raises(CommandError, match="There is no order"):
        call_command("explain", number)
