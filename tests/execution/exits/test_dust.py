"""Positions too small to sell are closed in the books."""

from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.db.models import F
from django.test import Client

from brokers.types import ReportKind
from connections.models import ExecutionConnection, Instrument
from events.messages import render
from execution.models import Order
from execution.monitoring.level_monitor import scan_levels
from execution.services import close_dust, close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.events.test_messages import event
from tests.execution import factories
from tests.html import html_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("alice", "runtime")]


@pytest.mark.parametrize(
    ("sold", "left", "closed"), [("0", 100, 0), ("0.8", 20, 0), ("0.9", 0, 1)], ids=str
)
def test_raised_minimum_closes_only_remainders_below_two_steps(
    feed: Feed, sold: str, left: int, closed: int
) -> None:
    position = factories.filled(factories.signal(feed))  # 100 in steps of 10
    if sold != "0":
        close_position(position.pk, fraction=D(sold))
        factories.fill_all()
    Instrument.objects.update(close_min=D(1000))
    assert close_dust() == closed
    held = ExecutionPosition.objects.get()
    assert (held.quantity, held.close_reason) == (left, "signal" if closed else "")


def test_little_of_an_entry_that_still_fills_is_no_dust(feed: Feed) -> None:
    factories.signal(feed)
    factories.claim_all()
    entry = Order.objects.get()
    factories.apply(factories.fill_report(entry, 10, "f1"))  # of 100, in steps of 10
    Instrument.objects.update(close_min=D(1000))
    assert close_dust() == 0
    factories.apply(factories.report(entry, ReportKind.CANCELLED))
    assert close_dust() == 1


def test_dust_whose_exit_is_under_way_waits_for_its_end(feed: Feed) -> None:
    position = factories.filled(factories.signal(feed))
    for fraction in ("0.9", "1"):
        close_position(position.pk, fraction=D(fraction))
        if fraction == "0.9":
            factories.fill_all()
    factories.claim_all()
    last = Order.objects.latest("id")
    assert (last.status, last.quantity) == ("SUBMITTING", 10)
    Instrument.objects.update(close_min=D(1000))
    assert close_dust() == 0
    factories.apply(factories.report(last, ReportKind.REJECTED))
    assert close_dust() == 1


def an_hour_later() -> None:
    """Move all ends an hour back: no exit is delayed because it just failed."""
    Order.objects.filter(done_at__isnull=False).update(done_at=F("done_at") - timedelta(hours=1))


def test_exit_below_the_minimum_is_deferred_until_it_can_be_sold(
    alice: ExecutionConnection, feed: Feed, client: Client
) -> None:
    """Its stop is hit and the exchange takes no order so small: exactly one exit and one alarm."""
    position = factories.filled(factories.signal(feed, sl=D("1.09")))  # 100 units
    Instrument.objects.update(close_min=D(10), close_worth_min=D(109))
    factories.quote(alice, "1.08000", "1.08010")  # worth 108
    assert len(scan_levels()) == 1
    factories.claim_all()
    stop = Order.objects.get(leg="sl")
    assert (stop.status, stop.reason) == ("CANCELLED", "EXIT_BELOW_MINIMUM")
    an_hour_later()
    assert (scan_levels(), close_dust()) == ([], 0)
    close_position(position.pk)  # its owner tries to close it manually
    factories.claim_all()
    assert Order.objects.get(leg="close-1").reason == "EXIT_BELOW_MINIMUM"
    (payload,) = factories.events("exit.delayed")
    assert payload["code"] == "EXIT_BELOW_MINIMUM"
    assert ExecutionPosition.objects.get().quantity == 100
    assert alice.user is not None
    client.force_login(alice.user)
    assert "it cannot be closed now." in html_of(client.get("/positions/"))

    an_hour_later()
    Instrument.objects.update(close_worth_min=D(100))  # the exchange lowers its minimum
    assert len(scan_levels()) == 1
    (outgoing,) = factories.claim_all()
    assert outgoing.request.quantity == 100
    assert "it cannot be closed now." not in html_of(client.get("/positions/"))


@pytest.mark.parametrize(
    ("by", "sent_again"), [("full CLOSE", 1), ("partial CLOSE", 0), ("owner", 0)]
)
def test_only_a_full_close_is_sent_again_once_the_minimum_allows_it(
    feed: Feed, by: str, sent_again: int
) -> None:
    """The alarm's message promises only that."""
    signal = factories.signal(feed, sl=D("1.09"))
    position = factories.filled(signal)  # 100 units
    Instrument.objects.update(close_min=D(10), close_worth_min=D(1000))
    if by == "owner":
        close_position(position.pk)
    else:
        factories.close_signal(signal, "1" if by == "full CLOSE" else "0.5")
    factories.claim_all()
    assert Order.objects.get(leg="close-1").reason == "EXIT_BELOW_MINIMUM"
    (payload,) = factories.events("exit.delayed")
    body = render(event("exit.delayed", **payload)).body
    assert "tried again until the position is closed" not in body
    assert "Your own close and a partial CLOSE are not repeated" in body

    an_hour_later()
    Instrument.objects.update(close_worth_min=D(10))  # the exchange lowers its minimum
    assert len(scan_levels()) == sent_again


@pytest.mark.parametrize(("left", "reason"), [(20, "EXIT_BELOW_MINIMUM"), (10, "DUST")])
def test_only_dust_is_closed_after_an_exit_of_too_little_value(
    feed: Feed, left: int, reason: str
) -> None:
    position = factories.filled(factories.signal(feed))  # 100 in steps of 10
    close_position(position.pk, fraction=D(100 - left) / 100)
    factories.fill_all()
    Instrument.objects.update(close_min=D(10), close_worth_min=D(1000))
    close_position(position.pk)
    factories.claim_all()
    assert Order.objects.latest("id").reason == reason
    assert close_dust() == (1 if reason == "DUST" else 0)
    assert ExecutionPosition.objects.get().quantity == (0 if reason == "DUST" else left)


def test_dust_below_the_smallest_value_is_closed_without_an_exit(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """Nothing asks for an exit of what a target has left."""
    factories.filled(factories.signal(feed, sl=D("1.09")))
    Instrument.objects.update(quantity_step=1, close_min=D(1), close_worth_min=D(90))
    ExecutionPosition.objects.update(quantity=90, opened_quantity=10_000)
    factories.quote(alice, "1.08000", "1.08010")  # worth 97.2, and its stop is reached
    assert (close_dust(), len(scan_levels())) == (0, 1)
    Order.objects.exits().delete()
    ExecutionPosition.objects.update(reserved=0)
    Instrument.objects.update(close_worth_min=D(98))
    assert (scan_levels(), close_dust()) == ([], 1)
