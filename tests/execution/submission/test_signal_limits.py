"""The limit of a feed: the notional of a signal over all accounts, on both sides of its edge."""

from decimal import Decimal as D
from threading import Thread
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from common.errors import InvalidInputError
from execution.models import Order
from execution.preview import preview
from execution.submission.claim import claim
from signals.feeds.services import create_feed, update_feed
from signals.models import Approval, Feed, Signal
from signals.publishing.preview import visible_to
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.submission.test_denials import numbers

pytestmark = pytest.mark.django_db
# An entry is 100 EUR/USD at an ask of 1.1: 110 USD.


def limit(feed: Feed, notional: str, currency: str = "USD") -> None:
    Feed.objects.filter(pk=feed.pk).update(
        max_signal_notional=D(notional), max_signal_currency=currency
    )


def outcomes() -> list[tuple[str, str]]:
    return sorted(Order.objects.values_list("status", "reason"))


SENT, DENIED = ("SUBMITTING", ""), ("DENIED", "SIGNAL_NOTIONAL")


@pytest.mark.parametrize(
    ("notional", "denied"), [("330", 0), ("329." + "9" * 18, 1), ("109." + "9" * 18, 3)]
)
def test_accounts_of_one_bundle_share_the_limit(
    feed: Feed, broker: FakeBroker, notional: str, denied: int
) -> None:
    for _ in range(3):
        factories.account(feed)
    limit(feed, notional)
    factories.signal(feed)
    factories.claim_all()
    assert outcomes() == [DENIED] * denied + [SENT] * (3 - denied)
    if denied:
        assert numbers() == {"value": "110", "maximum": notional}  # its own notional only


def test_later_bundles_count_what_is_filled_and_may_be_filled(
    feed: Feed, broker: FakeBroker
) -> None:
    for _ in range(4):
        factories.account(feed)
    limit(feed, "220")
    factories.signal(feed)
    first, second, third, fourth = factories.pending()
    (outgoing,) = claim([first], worker_id="one").outgoing
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    claim([second], worker_id="two")
    claim([third], worker_id="three")
    assert Order.objects.get(pk=third).reason == "SIGNAL_NOTIONAL"
    factories.force("UPDATE execution_order SET status = 'REJECTED' WHERE id = %s", (second,))
    claim([fourth], worker_id="four")
    assert Order.objects.get(pk=fourth).status == "SUBMITTING"


def test_later_bundles_count_slices_that_are_planned(feed: Feed, broker: FakeBroker) -> None:
    """An entry of 90 in slices of 30 is 99 USD, of which 33 are sent at first."""
    for _ in range(2):
        factories.account(feed, preset_fixed_quantity=D(90))
    limit(feed, "197.99")
    factories.signal(feed, execution_style="TWAP", duration_seconds=60, slice_count=3)
    first, second = factories.pending()
    (outgoing,) = claim([first], worker_id="one").outgoing
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    assert claim([second], worker_id="two").outgoing == []
    assert Order.objects.get(pk=second).reason == "SIGNAL_NOTIONAL"
    limit(feed, "198")
    factories.signal(feed, execution_style="TWAP", duration_seconds=60, slice_count=3)
    for number in factories.pending()[-2:]:
        assert len(claim([number], worker_id="one").outgoing) == 1


def test_each_signal_has_a_budget_of_its_own(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed)
    limit(feed, "110")
    for _ in range(2):
        factories.signal(feed)
    factories.claim_all()
    assert outcomes() == [SENT, SENT]


@pytest.mark.django_db(transaction=True)
def test_claims_of_several_accounts_at_once_do_not_pass_together(
    feed: Feed, broker: FakeBroker
) -> None:
    for _ in range(6):
        factories.account(feed)
    limit(feed, "220")
    factories.signal(feed)

    def claim_one(order_id: int) -> None:
        try:
            claim([order_id], worker_id=str(order_id))
        finally:
            connection.close()

    claims = [Thread(target=claim_one, args=(order_id,)) for order_id in factories.pending()]
    for one in claims:
        one.start()
    for one in claims:
        one.join()
    assert outcomes() == [DENIED] * 4 + [SENT] * 2


def test_limit_is_converted_by_the_accounts_price_source(feed: Feed, broker: FakeBroker) -> None:
    account = factories.account(feed)
    limit(feed, "100.01", "EUR")  # 110 USD at a middle of 1.09995 are 100.00455 EUR
    factories.signal(feed)
    factories.claim_all()
    limit(feed, "100", "EUR")
    factories.signal(feed)
    factories.claim_all()
    assert outcomes() == [DENIED, SENT]
    limit(feed, "100000", "CHF")
    factories.signal(feed)
    factories.claim_all()
    denied = Order.objects.latest("id")
    assert (denied.reason, denied.detail) == ("NO_CONVERSION_RATE", "USD CHF")
    factories.quote(account, "0.89990", pair="USD/CHF")
    factories.signal(feed)
    factories.claim_all()
    assert Order.objects.latest("id").status == "SUBMITTING"


@pytest.mark.parametrize(
    ("notional", "reason"), [("220.4" + "9" * 17, "SIGNAL_NOTIONAL"), ("220.5", "")]
)
def test_accounts_that_trade_another_symbol_count_too(
    feed: Feed, broker: FakeBroker, notional: str, reason: str
) -> None:
    """EUR/USD is mapped to a symbol of EUR/GBP: 100 at 0.85 GBP of 1.3 USD are 110.5 USD."""
    factories.instrument("EUR/GBP", symbol="EURGBP.x")
    mapped = factories.account()
    make.subscription(mapped, feed, symbol_map={"EUR/USD": "EURGBP.x"})
    plain = factories.account(feed, data_connection=mapped.data_connection)
    for bid, ask, pair in (("0.84990", "0.85000", "EUR/GBP"), ("1.29999", "1.30001", "GBP/USD")):
        factories.quote(mapped, bid, ask, pair=pair)
    limit(feed, notional)
    factories.signal(feed, sl=None)
    claim([Order.objects.get(connection=mapped).pk], worker_id="one")
    claim(factories.pending(), worker_id="two")
    assert Order.objects.get(connection=plain).reason == reason


def test_exits_are_not_counted_and_not_limited(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed)
    signal = factories.signal(feed)
    factories.filled(signal)
    limit(feed, "0.01")
    factories.close_signal(signal)
    (outgoing,) = factories.claim_all()
    assert outgoing.request.quantity == 100


def test_preview_counts_the_limit_and_its_provider_sees_it(feed: Feed, broker: FakeBroker) -> None:
    for _ in range(3):
        factories.account(feed, type="paper")
    limit(feed, "220")
    feed.refresh_from_db()
    draft = Signal(
        feed=feed, currency_pair="EUR/USD", direction="BUY", approval=Approval.APPROVED,
        sl=D("1.09"),
    )  # fmt: skip
    found = visible_to(feed.owner, draft, preview(draft))
    assert found.sent == 2
    assert [(reason.name, reason.connections) for reason in found.reasons] == [
        ("SIGNAL_NOTIONAL", 1)
    ]


@pytest.mark.parametrize(
    "values",
    [
        {"max_signal_notional": D(1)},
        {"max_signal_currency": "USD"},
        {"max_signal_notional": D(0), "max_signal_currency": "USD"},
    ],
)
def test_limit_needs_its_currency(db: None, values: dict[str, Any]) -> None:
    feed = make.feed()
    with pytest.raises(InvalidInputError, match="or both are empty"):
        update_feed(feed.pk, by=None, **values)
    with pytest.raises(InvalidInputError, match="or both are empty"):
        create_feed(owner=make.user(), name="limited", **values)
    with pytest.raises(IntegrityError), transaction.atomic():
        Feed.objects.update(**values)
