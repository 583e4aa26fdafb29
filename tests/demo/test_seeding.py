"""Who is in the demo, written once, and put back to the start for each session."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone
from nacl.public import PrivateKey

from brokers.paper.models import PaperAccount
from common.sql import rows, run
from connections.models import ConnectionHealth, ExecutionConnection, Subscription
from connections.models import SubscriptionInterval as Interval
from demo import accounts, reset
from demo.seeding import seed
from ops.embedded.errors import EmbeddedError
from signals.models import Feed, Signal
from users.models import User


@pytest.fixture(autouse=True)
def keys(settings: Any) -> None:
    """As in a trading process: what is sealed here opens here."""
    pair = PrivateKey.generate()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = bytes(pair.public_key)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (bytes(pair),)


def test_the_cast_is_the_same_each_time() -> None:
    everybody = accounts.demo_accounts()
    assert everybody == accounts.demo_accounts()
    assert len({one.number for one in everybody}) == len({one.id for one in everybody}) == 152
    owners = Counter(one.owner for one in everybody)
    assert owners.pop(accounts.OPERATOR) == 2
    assert len(owners) == 50
    assert set(owners.values()) == {accounts.ACCOUNTS_EACH}


def test_everything_that_there_is_to_show_is_shown() -> None:
    found = Counter(one.trait.name for one in accounts.demo_accounts())
    for trait in accounts.TRAITS:
        assert found[trait.name] == trait.count > 0
    assert found[""] == 152 - sum(trait.count for trait in accounts.TRAITS)


@pytest.mark.django_db
class TestSeeding:
    def test_again_it_changes_nothing(self) -> None:
        assert seed() == 152
        ExecutionConnection.objects.filter(account="D-100").update(name="Renamed")
        counts = _counts()
        assert seed() == 152
        assert _counts() == counts
        assert ExecutionConnection.objects.get(account="D-100").name == "Renamed"

    def test_people_can_log_in(self) -> None:
        seed()
        assert User.objects.get(username=accounts.OPERATOR).is_operator
        tenant = User.objects.get(username=accounts.NAMES[0])
        assert tenant.check_password(accounts.PASSWORD)
        assert not tenant.is_operator

    def test_credentials_are_sealed_and_some_are_wrong(self) -> None:
        seed()
        wrong = {one.id for one in accounts.demo_accounts() if one.trait is accounts.WRONG_PASSWORD}
        opened = {c.pk: c.get_credential("password") for c in ExecutionConnection.objects.all()}
        assert {pk for pk, value in opened.items() if value != accounts.ACCOUNT_PASSWORD} == wrong

    def test_each_tenants_account_takes_the_feed_since_long_ago(self) -> None:
        seed()
        assert Subscription.objects.filter(feed__slug=accounts.FEED).count() == 150
        assert set(Interval.objects.values_list("started_at", "ended_at")) == {
            (accounts.SEEDED_AT, None)
        }


@pytest.mark.django_db
class TestSession:
    def test_it_begins_without_trades_and_with_full_accounts(self) -> None:
        seed()
        feed = Feed.objects.get(slug=accounts.FEED)
        Signal.objects.create(feed=feed, currency_pair="EUR/USD", direction="BUY")
        PaperAccount.objects.update(balance=Decimal(1))
        then = timezone.now()
        ConnectionHealth.objects.update(
            status="ERROR", last_error="once upon a time", failing_since=then, unreachable_at=then,
            read_after=then + timedelta(hours=12),
        )  # fmt: skip
        run("SET CONSTRAINTS ALL IMMEDIATE")  # a test is one transaction
        reset.begin_session()
        assert not Signal.objects.exists()
        assert set(ConnectionHealth.objects.values_list("status", "last_error")) == {
            ("UNTESTED", "")
        }
        put_away = ("failing_since", "unreachable_at", "read_after")
        assert set(ConnectionHealth.objects.values_list(*put_away)) == {(None, None, None)}
        for one in accounts.demo_accounts():
            assert PaperAccount.objects.get(number=one.number).balance == one.paper["balance"]
        assert len(reset.connections_to_test()) == 152

    def test_what_people_changed_counts_from_the_start(self) -> None:
        seed()
        later = accounts.DAY + timedelta(hours=20)
        left = Subscription.objects.order_by("pk")[0]
        Subscription.objects.filter(pk=left.pk).update(archived_at=later)
        Interval.objects.filter(subscription=left).update(ended_at=later)
        gone = ExecutionConnection.objects.get(account="D-001")
        ExecutionConnection.objects.filter(pk=gone.pk).update(archived_at=later)
        reset.begin_session()
        gone.refresh_from_db()
        assert gone.archived_at == accounts.SEEDED_AT
        assert ExecutionConnection.objects.live().count() == 151
        assert not Interval.objects.filter(subscription=left).exists()
        assert Interval.objects.filter(ended_at=None).count() == 149

    def test_somebody_elses_database_is_left_alone(self) -> None:
        User.objects.create_user("real-person")
        with pytest.raises(EmbeddedError, match="another installation"):
            reset.claim_database()

    def test_the_demos_database_stays_its_own_with_new_people_in_it(self) -> None:
        reset.claim_database()
        User.objects.create_user("new-person")
        reset.claim_database()
        run("COMMENT ON TABLE signals_feed IS NULL")
        with pytest.raises(EmbeddedError):
            reset.claim_database()


def _counts() -> list[int]:
    tables = (
        "users_user", "connections_executionconnection", "connections_connectionhealth",
        "connections_connectionlock", "connections_subscription",
        "connections_subscriptioninterval",
        "connections_tradingpreset", "connections_dataconnection", "paper_account", "signals_feed",
    )  # fmt: skip
    return [rows(f"SELECT count(*) AS n FROM {table}")[0].n for table in tables]
