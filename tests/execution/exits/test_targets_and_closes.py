"""Targets and closes of a position, whose exits fail, come late, or overtake each other."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.db.models import F

from brokers.base import OutcomeUnknown, Rejected
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.feed_results import results_of
from execution.models import Order
from execution.monitoring.level_monitor import scan_levels
from execution.services import close_position
from portal.selectors.signals import signal_history
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.exits.test_orders import (
    _end_half_a_minute_ago,
    _fill_in_part,
    _modify_targets,
    _reject,
)

pytestmark = pytest.mark.django_db


def test_close_is_repeated_though_a_target_is_refused_again_and_again(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """The broker refuses the target's rest of 10 each time; it refused the CLOSE of 30 once."""
    signal = factories.signal(feed, [("1.11", "0.8")])
    factories.filled(signal)
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [out] = factories.claim_all()
    _fill_in_part(out, D(70))
    factories.close_signal(signal)
    [out] = factories.claim_all()
    factories.answer(out, Rejected(Code.MARKET_CLOSED))
    for _ in range(3):
        factories.quote(alice, "1.11500", "1.11510")
        Order.objects.exits().update(done_at=F("done_at") - timedelta(seconds=60))
        scan_levels()
        for out in factories.claim_all():
            if out.request.quantity == 10:
                _reject(out)
            else:
                factories.answer(out, factories.fake_broker().fill_at_once(out.request))
    assert ExecutionPosition.objects.get().quantity == 0


def test_close_is_repeated_while_a_target_is_unknown(
    alice: ExecutionConnection, feed: Feed
) -> None:
    signal = factories.signal(feed, [("1.11", "0.5"), ("1.12", "0.5")])
    factories.filled(signal)
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [out] = factories.claim_all()
    factories.answer(out, OutcomeUnknown(Code.REPLY_LOST, "x"))
    factories.close_signal(signal)
    closing = factories.claim_all()
    for out in closing:
        factories.answer(out, Rejected(Code.MARKET_CLOSED))
    for _ in range(5):
        _end_half_a_minute_ago()
    written = scan_levels()
    assert len(written) == 1


def test_same_without_the_price_at_the_target(alice: ExecutionConnection, feed: Feed) -> None:
    """The control of the test above."""
    signal = factories.signal(feed, [("1.11", "0.5"), ("1.12", "0.5")])
    factories.filled(signal)
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [out] = factories.claim_all()
    factories.answer(out, OutcomeUnknown(Code.REPLY_LOST, "x"))
    factories.close_signal(signal)
    for out in factories.claim_all():
        factories.answer(out, Rejected(Code.MARKET_CLOSED))
    for _ in range(5):
        _end_half_a_minute_ago()
    factories.quote(alice, "1.10500", "1.10510")
    assert len(scan_levels()) == 1


def test_last_target_stays_if_another_exit_fails_after_it(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """It closes all that is left; half of it was reserved by a person's exit, which fails."""
    position = factories.filled(factories.signal(feed, [("1.11", "1")]))
    close_position(position.pk, fraction=D("0.5"))
    [by_hand] = factories.claim_all()
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [target] = factories.claim_all()
    factories.answer(target, factories.fake_broker().fill_at_once(target.request))
    _reject(by_hand)
    position.refresh_from_db()
    assert (position.quantity, position.tp) == (50, D("1.11"))


def test_rest_of_the_entry_that_fills_after_the_last_target_has_it_too(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.signal(feed, [("1.11", "1")])
    [entry] = factories.claim_all()
    broker = factories.fake_broker()
    ticket = broker.receive(entry.request)
    factories.answer(entry, [broker.execute(ticket, D(40))])
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [target] = factories.claim_all()
    factories.answer(target, broker.fill_at_once(target.request))
    factories.quote(alice, "1.10000", "1.10010")
    rest = broker.execute(ticket, entry.request.quantity - 40)
    factories.apply(replace(rest, event_id="rest"))
    position = ExecutionPosition.objects.get()
    assert position.quantity == 60
    factories.quote(alice, "1.11500", "1.11510")
    assert len(scan_levels()) == 1


def test_position_that_a_correction_opens_again_has_its_target(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.filled(factories.signal(feed, [("1.11", "1")]))
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [target] = factories.claim_all()
    broker = factories.fake_broker()
    ticket = broker.receive(target.request)
    executed = broker.execute(ticket, target.request.quantity)
    factories.answer(target, [executed])
    [fill] = executed.fills
    corrected = replace(fill, quantity=D(70), revision=1)
    factories.apply(replace(executed, fills=(corrected,), event_id="bust"))
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.tp) == (30, D("1.11"))


def test_only_target_of_a_modify_is_not_lost_when_an_earlier_ones_exit_fills(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """The exit of a half is in flight; then the provider names one target for all that is left."""
    signal = factories.signal(feed, [("1.11", "0.5"), ("1.12", "0.5")])
    factories.filled(signal)
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [target] = factories.claim_all()
    _modify_targets(signal, [("1.13", "1")])
    factories.answer(target, factories.fake_broker().fill_at_once(target.request))
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.tp) == (50, D("1.13"))


def test_close_that_succeeds_when_it_is_repeated_counts_as_filled(
    alice: ExecutionConnection, feed: Feed
) -> None:
    signal = factories.signal(feed)
    factories.filled(signal)
    close = factories.close_signal(signal)
    [out] = factories.claim_all()
    factories.answer(out, Rejected(Code.MARKET_CLOSED))
    _end_half_a_minute_ago()
    assert len(scan_levels()) == 1
    [out] = factories.claim_all()
    factories.answer(out, factories.fake_broker().fill_at_once(out.request))
    assert ExecutionPosition.objects.get().quantity == 0
    assert results_of([close])[close.pk].breakdown == "1 filled"
    assert alice.user is not None
    assert signal_history(alice.user, close).summary.breakdown == "1 filled"
