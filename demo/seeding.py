"""Writing the cast down: set-based, and as often as wanted. What is there already stays."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.contrib.auth.hashers import make_password
from django.db import transaction

from brokers.paper.exchange import list_instruments
from brokers.paper.models import PaperAccount
from brokers.paper.reads import hash_password
from connections.credentials.sealing import seal_credentials
from connections.models import (
    ConnectionHealth,
    ConnectionLock,
    DataConnection,
    ExecutionConnection,
    Subscription,
    SubscriptionInterval,
    TradingPreset,
)
from demo import accounts
from demo.accounts import Account
from prices.recordings import DEFAULT_FILE
from signals.models import Feed
from users.models import User
from users.tenancy import for_all_tenants

MAX_SIGNAL_AGE = 14_400  # market seconds: four minutes of a machine at 60x
PRICES = "Payrolls, 2 May 2014"


@transaction.atomic
def seed() -> int:
    """Write users, presets, prices, a feed, accounts and subscriptions; return how many accounts.

    Only what is missing is written: run again, it changes nothing.
    """
    with for_all_tenants():
        everybody = accounts.demo_accounts()
        users = _users()
        presets = _presets()
        source = DataConnection.objects.get_or_create(
            name=PRICES, user=None,
            defaults={"settings": {"file": DEFAULT_FILE, "after_the_end": "stand"}},
        )[0]  # fmt: skip
        feed = _feed(users[accounts.OPERATOR])
        list_instruments()
        _paper_accounts(everybody)
        _connections(everybody, users, presets, source)
        _subscriptions([one for one in everybody if not one.is_operators], feed)
    return len(everybody)


def _users() -> dict[str, User]:
    """Return the demo's users by name. Hashing is slow on purpose, so a password is hashed once."""
    names = (accounts.OPERATOR, *accounts.NAMES)
    known = set(User.objects.filter(username__in=names).values_list("username", flat=True))
    if missing := [name for name in names if name not in known]:
        hashed = make_password(accounts.PASSWORD)
        User.objects.bulk_create(_user(name, hashed) for name in missing)
    return {user.username: user for user in User.objects.filter(username__in=names)}


def _user(name: str, hashed: str) -> User:
    operates = name == accounts.OPERATOR
    return User(
        username=name, password=hashed, first_name=name.title(), is_staff=operates,
        is_superuser=operates,
    )  # fmt: skip


def _presets() -> dict[str, TradingPreset]:
    shared = TradingPreset.objects.filter(user=None)
    known = set(shared.values_list("name", flat=True))
    for name, values in accounts.PRESETS.items():
        if name not in known:
            TradingPreset.objects.create(name=name, max_signal_age_seconds=MAX_SIGNAL_AGE, **values)
    return {
        preset.name: preset for preset in shared.filter(name__in=accounts.PRESETS).order_by("-pk")
    }


def _feed(owner: User) -> Feed:
    return Feed.objects.get_or_create(
        slug=accounts.FEED,
        defaults={
            "name": "Payrolls",
            "description": "Trades around the US labour market report. The demo's alerts.",
            "owner": owner,
            "is_approved": True,
        },
    )[0]


def _paper_accounts(everybody: Sequence[Account]) -> None:
    hashed = hash_password(accounts.ACCOUNT_PASSWORD)
    PaperAccount.objects.bulk_create(
        [
            PaperAccount(
                number=one.number, owner=one.owner, password_hash=hashed,
                commission_per_million=Decimal(30), **one.paper,
            )
            for one in everybody
        ],
        ignore_conflicts=True,
    )  # fmt: skip


def _connections(
    everybody: Sequence[Account],
    users: dict[str, User],
    presets: dict[str, TradingPreset],
    source: DataConnection,
) -> None:
    known = set(ExecutionConnection.objects.values_list("id", flat=True))
    missing = [one for one in everybody if one.id not in known]
    ExecutionConnection.objects.bulk_create(
        _connection(one, users[one.owner], presets[one.preset], source) for one in missing
    )
    ConnectionHealth.objects.bulk_create(ConnectionHealth(connection_id=one.id) for one in missing)
    ConnectionLock.objects.bulk_create(ConnectionLock(connection_id=one.id) for one in missing)


def _connection(
    one: Account, owner: User, preset: TradingPreset, source: DataConnection
) -> ExecutionConnection:
    whose: dict[str, Any] = {"admin" if one.is_operators else "user": owner}
    sealed = seal_credentials(
        {"password": one.trait.password}, connection_id=one.id, owner_id=owner.pk
    )
    return ExecutionConnection(
        id=one.id, name=one.name, type="paper", account=one.number, preset=preset,
        data_connection=source, sealed_credentials=sealed, created_at=accounts.SEEDED_AT, **whose,
        **one.trait.connection,
    )  # fmt: skip


def _subscriptions(tenants: Sequence[Account], feed: Feed) -> None:
    known = set(Subscription.objects.filter(feed=feed).values_list("connection_id", flat=True))
    made = Subscription.objects.bulk_create(
        Subscription(connection_id=one.id, feed=feed, **one.trait.subscription)
        for one in tenants
        if one.id not in known
    )
    SubscriptionInterval.objects.bulk_create(
        SubscriptionInterval(subscription=subscription, started_at=accounts.SEEDED_AT)
        for subscription in made
    )
