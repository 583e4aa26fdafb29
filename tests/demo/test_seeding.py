"""The demo's users and accounts: written once, and reset for each session."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import ProgrammingError
from django.utils import timezone
from nacl.public import PrivateKey

from brokers.paper.models import PaperAccount
from common.db.sql import rows, run
from connections.models import ConnectionHealth, ExecutionConnection, Subscription
from connections.models import SubscriptionInterval as Interval
from demo import accounts, reset
from demo.seeding import seed
from ops.embedded.errors import EmbeddedError
from signals import services
from signals.models import Feed, RecordStatus, Signal
from signals.records.check import anchor, store_status, verify_feed
from signals.records.sql import HEADS
from tests.signals.test_services import approved_feed, make
from users.models import User


@pytest.fixture(autouse=True)
def keys(settings: Any) -> None:
    """Set a key pair as in a trading process, which can decrypt what it encrypts."""
    pair = PrivateKey.generate()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = bytes(pair.public_key)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (bytes(pair),)


def test_demo_accounts_are_the_same_each_time() -> None:
    demo_accounts = accounts.demo_accounts()
    assert demo_accounts == accounts.demo_accounts()
    assert len({account.number for account in demo_accounts}) == 152
    assert len({account.id for account in demo_accounts}) == 152
    owners = Counter(account.owner for account in demo_accounts)
    assert owners.pop(accounts.OPERATOR) == 2
    assert len(owners) == 50
    assert set(owners.values()) == {accounts.ACCOUNTS_EACH}


def test_every_trait_is_present_in_the_demo() -> None:
    traits = Counter(account.trait.name for account in accounts.demo_accounts())
    for trait in accounts.TRAITS:
        assert traits[trait.name] == trait.count > 0
    assert traits[""] == 152 - sum(trait.count for trait in accounts.TRAITS)


@pytest.mark.django_db
class TestSeeding:
    def test_second_seeding_changes_nothing(self) -> None:
        assert seed() == 152
        ExecutionConnection.objects.filter(account="D-100").update(name="Renamed")
        counts = _counts()
        assert seed() == 152
        assert _counts() == counts
        assert ExecutionConnection.objects.get(account="D-100").name == "Renamed"

    def test_demo_users_can_sign_in(self) -> None:
        seed()
        assert User.objects.get(username=accounts.OPERATOR).is_operator
        tenant = User.objects.get(username=accounts.NAMES[0])
        assert tenant.check_password(accounts.PASSWORD)
        assert not tenant.is_operator

    def test_credentials_are_sealed_and_some_are_wrong(self) -> None:
        seed()
        wrong = {a.id for a in accounts.demo_accounts() if a.trait is accounts.WRONG_PASSWORD}
        opened = {c.pk: c.get_credential("password") for c in ExecutionConnection.objects.all()}
        assert {pk for pk, value in opened.items() if value != accounts.ACCOUNT_PASSWORD} == wrong

    def test_every_tenants_account_subscribes_before_the_start(self) -> None:
        seed()
        assert Subscription.objects.filter(feed__slug=accounts.FEED).count() == 150
        assert set(Interval.objects.values_list("started_at", "ended_at")) == {
            (accounts.SEEDED_AT, None)
        }


@pytest.mark.django_db
class TestSession:
    def test_session_begins_without_trades_and_with_initial_balances(self) -> None:
        seed()
        feed = Feed.objects.get(slug=accounts.FEED)
        Signal.objects.create(feed=feed, currency_pair="EUR/USD", direction="BUY")
        PaperAccount.objects.update(balance=Decimal(1))
        then = timezone.now()
        ConnectionHealth.objects.update(
            status="ERROR", last_error="an old error", failing_since=then, unreachable_at=then,
            read_after=then + timedelta(hours=12),
        )  # fmt: skip
        run("SET CONSTRAINTS ALL IMMEDIATE")  # a test is one transaction
        reset.begin_market_session()
        assert not Signal.objects.exists()
        assert set(ConnectionHealth.objects.values_list("status", "last_error")) == {
            ("UNTESTED", "")
        }
        reset_fields = ("failing_since", "unreachable_at", "read_after")
        assert set(ConnectionHealth.objects.values_list(*reset_fields)) == {(None, None, None)}
        for account in accounts.demo_accounts():
            paper = PaperAccount.objects.get(number=account.number)
            assert paper.balance == account.paper["balance"]
        assert len(reset.connections_to_test()) == 152

    @pytest.mark.django_db(transaction=True)
    def test_records_of_feeds_start_with_a_session(self) -> None:
        """Else the next check reports to operators that the last session's signals were removed."""
        feed = approved_feed()
        for _ in range(2):
            services.publish(make(feed).pk, by=None)
            assert anchor(feed.pk) is not None
            found = verify_feed(feed.pk)
            assert (found.wrong, found.head.number) == ([], 1)
            store_status(feed.pk, found)
            reset.begin_market_session()
            found = verify_feed(feed.pk)
            assert (found.wrong, found.head.number) == ([], 0)
            assert not RecordStatus.objects.exists()
        with pytest.raises(ProgrammingError, match="written by triggers only"):
            run(f"DELETE FROM {HEADS}")

    def test_users_changes_apply_from_the_start_of_a_session(self) -> None:
        seed()
        later = accounts.DAY + timedelta(hours=20)
        ended = Subscription.objects.order_by("pk")[0]
        Subscription.objects.filter(pk=ended.pk).update(archived_at=later)
        Interval.objects.filter(subscription=ended).update(ended_at=later)
        removed = ExecutionConnection.objects.get(account="D-001")
        ExecutionConnection.objects.filter(pk=removed.pk).update(archived_at=later)
        reset.begin_market_session()
        removed.refresh_from_db()
        assert removed.archived_at == accounts.SEEDED_AT
        assert ExecutionConnection.objects.live().count() == 151
        assert not Interval.objects.filter(subscription=ended).exists()
        assert Interval.objects.filter(ended_at=None).count() == 149

    def test_database_of_another_installation_is_refused(self) -> None:
        User.objects.create_user("real-person")
        with pytest.raises(EmbeddedError, match="another installation"):
            reset.claim_database()

    def test_demo_database_stays_claimed_with_new_users(self) -> None:
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
