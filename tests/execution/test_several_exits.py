"""A CLOSE above the broker's largest order: several orders close one position of one account.

Wherever accounts, positions or results are counted, the account and its position count once.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db.models import F
from django.http import QueryDict

from analytics.orders.followers import FeedResult, results_of
from analytics.orders.scoped_results import Exits, scoped_result
from brokers.types import ReportKind
from common.reason_codes import Code
from connections.models import ExecutionConnection, Instrument
from console.pages.signal_pages import find
from console.queries import candidates
from console.queries.funnel import funnel
from demo.results import _targets_hit
from execution.models import Order, OutcomeCheck
from execution.monitoring.level_monitor import scan_levels
from execution.scoped import actions as scoped_actions
from execution.signal_outcomes import report_outcomes
from execution.submission.outgoing import Outgoing
from portal.selectors.positions import PositionView
from portal.selectors.signals import signal_history, signal_summaries
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.execution import factories

pytestmark = pytest.mark.django_db


def opened(feed: Feed, **levels: Any) -> Signal:
    """A signal with a position of 100; since then its broker takes 45 in one order."""
    signal = factories.signal(feed, **levels)
    factories.filled(signal)
    Instrument.objects.update(quantity_max=D(45))
    return signal


def fill(outgoing: Outgoing, price: str = "1.11000") -> None:
    order = Order.objects.get(client_order_id=outgoing.request.client_order_id)
    assert order.quantity is not None
    report = factories.fill_report(order, order.quantity, f"exit-{order.pk}", price=price)
    factories.apply(report)


def reject(outgoing: Outgoing) -> None:
    order = Order.objects.get(client_order_id=outgoing.request.client_order_id)
    factories.apply(factories.report(order, ReportKind.REJECTED, code=Code.REJECTED_BY_BROKER))


def answered(answers: Sequence[str]) -> None:
    """Claim the exits, and answer them in their order; '' is no answer."""
    sent = factories.claim_all()
    assert len(sent) == len(answers) == 3
    for outgoing, answer in zip(sent, answers, strict=True):
        if answer:
            {"fill": fill, "reject": reject}[answer](outgoing)


def shares(counts: dict[str, int]) -> dict[str, int]:
    return {share: count for share, count in counts.items() if count}


def test_result_of_a_close_in_several_orders_is_that_of_its_position(
    alice: ExecutionConnection, feed: Feed
) -> None:
    owner, close = alice.user, factories.close_signal(opened(feed))
    assert owner is not None
    answered(["fill"] * 3)
    [position] = ExecutionPosition.objects.all()
    net = PositionView(position).net
    assert (position.quantity, net > 0) == (0, True)
    history = signal_history(owner, close)
    assert len(history.outcomes) == 3
    assert [result for *_, result in history.results] == [net]
    assert (history.summary.accounts, history.summary.breakdown) == (1, "1 filled")
    [listed] = signal_summaries(owner, [close])
    assert (listed.accounts, listed.breakdown) == (1, "1 filled")


@pytest.mark.parametrize(
    ("answers", "share", "is_settled"),
    [
        (["fill", "", ""], "working", False),  # something stays open as yet
        (["reject", "", "fill"], "working", False),
        (["reject", "fill", "fill"], "rejected", True),
        (["fill", "reject", "fill"], "rejected", True),
        (["fill", "fill", "fill"], "filled", True),
    ],
)
def test_order_that_waits_or_has_not_filled_decides_about_the_account(
    alice: ExecutionConnection, feed: Feed, answers: list[str], share: str, is_settled: bool
) -> None:
    owner, close = alice.user, factories.close_signal(opened(feed))
    assert owner is not None
    answered(answers)
    of_feed = results_of([close])[close.pk]
    [listed], history = signal_summaries(owner, [close]), signal_history(owner, close)
    counted = candidates.counts(find(close.pk))
    for found in (of_feed, listed, history.summary, counted):
        assert shares(found.shares) == {share: 1}
        assert found.is_settled is is_settled
    assert of_feed.accounts == 1
    reasons = [(one.share, one.accounts) for one in of_feed.reasons]
    assert reasons == ([("rejected", 1)] if share == "rejected" else [])


def test_part_that_filled_of_an_exit_is_not_all_of_it(
    alice: ExecutionConnection, feed: Feed
) -> None:
    close = factories.close_signal(opened(feed))
    sent = factories.claim_all()
    for outgoing in sent[1:]:
        fill(outgoing)
    first = Order.objects.get(client_order_id=sent[0].request.client_order_id)
    factories.apply(factories.fill_report(first, 10, "part"))
    factories.apply(factories.report(first, ReportKind.CANCELLED))
    assert shares(results_of([close])[close.pk].shares) == {"cancelled": 1}


def test_signals_of_both_kinds_are_counted_together(alice: ExecutionConnection, feed: Feed) -> None:
    signal = opened(feed)
    close = factories.close_signal(signal)
    answered(["fill", "", ""])
    results = results_of([signal, close])
    assert shares(results[signal.pk].shares) == {"filled": 1}
    assert shares(results[close.pk].shares) == {"working": 1}
    assert results_of([signal]) == {signal.pk: results[signal.pk]}
    assert isinstance(results[close.pk], FeedResult)


def test_console_counts_candidates_and_lists_all_their_orders(
    alice: ExecutionConnection, feed: Feed
) -> None:
    close = find(factories.close_signal(opened(feed)).pk)
    answered(["fill", "fill", "reject"])
    counted = candidates.counts(close)
    assert (counted.candidates, counted.found, counted.in_table) == (1, 1, 3)
    assert counted.bar_label == "1 candidate: 1 rejected"
    assert shares(counted.order_shares) == {"filled": 2, "rejected": 1}
    assert sum(counted.broker_types.values()) == 3
    assert [step.passed for step in funnel(counted.progress)] == [1, 1, 1, 1, 0, 0]
    for query, number in (("", 3), ("state=filled", 2), ("state=rejected", 1)):
        assert candidates.matching_orders(close, QueryDict(query)).count() == number


def test_message_to_operators_counts_the_account_once(
    alice: ExecutionConnection, feed: Feed
) -> None:
    signal = opened(feed)
    OutcomeCheck.objects.all().delete()
    factories.close_signal(signal)
    answered(["reject", "reject", "fill"])
    OutcomeCheck.objects.update(due_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert report_outcomes() == 1
    [payload] = factories.events("signal.incomplete")
    assert payload["candidates"] == 1
    assert payload["orders"] == {"REJECTED": {"REJECTED_BY_BROKER": 1}}


def test_message_to_operators_leaves_out_what_was_closed_at_the_next_attempt(
    alice: ExecutionConnection, feed: Feed
) -> None:
    signal = opened(feed)
    OutcomeCheck.objects.all().delete()
    factories.close_signal(signal)
    answered(["reject", "reject", "reject"])
    Order.objects.exits().update(done_at=F("done_at") - timedelta(minutes=1))
    assert len(scan_levels()) == 3
    answered(["fill", "fill", "fill"])
    OutcomeCheck.objects.update(due_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert report_outcomes() == 0


@pytest.mark.parametrize(
    ("answers", "exits"),
    [
        (["fill", "", "reject"], Exits(waiting=1)),
        (["fill", "reject", "fill"], Exits(left_open=1)),
        (["fill", "fill", "fill"], Exits(closed=1)),
    ],
)
def test_position_counts_as_closed_once_nothing_of_it_is_open(
    alice: ExecutionConnection, feed: Feed, answers: list[str], exits: Exits
) -> None:
    opened(feed)
    request = scoped_actions.ActionRequest(scoped_actions.ActionScope(), closes_positions=True)
    action = scoped_actions.carry_out(request, by=None)
    answered(answers)
    result = scoped_result(action)
    assert (result.positions, result.exits) == (1, exits)


def test_position_whose_exit_filled_in_part_is_still_open(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.filled(factories.signal(feed))
    request = scoped_actions.ActionRequest(scoped_actions.ActionScope(), closes_positions=True)
    action = scoped_actions.carry_out(request, by=None)
    factories.claim_all()
    leaving = Order.objects.exits().get()
    factories.apply(factories.fill_report(leaving, 30, "part"))
    factories.apply(factories.report(leaving, ReportKind.CANCELLED))
    assert scoped_result(action).exits == Exits(left_open=1)


def test_demo_counts_a_target_of_a_position_once(alice: ExecutionConnection, feed: Feed) -> None:
    opened(feed, targets=[("1.11", "0.8"), ("1.12", "0.2")])
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    sent = factories.claim_all()
    for outgoing in sent:
        fill(outgoing)
    assert (len(sent), _targets_hit(Order.objects.filter(filled_quantity__gt=0))) == (2, 1)
