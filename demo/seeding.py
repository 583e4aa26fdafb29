"""Writes the demo's users and accounts. Existing rows stay, so it can run any number of times."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.contrib.auth.hashers import make_password
from django.db import transaction

from brokers.paper.exchange import list_instruments
from brokers.paper.models import PaperAccount
from brokers.paper.reads import hash_password
from connections.models import (
    ConnectionHealth,
    ConnectionLock,
    DataConnection,
    ExecutionConnection,
    LossLimit,
    Subscription,
    SubscriptionInterval,
    TradingPreset,
)
from connections.services import seal_credentials
from demo import accounts
from demo.accounts import Account
from prices.recordings import DEFAULT_FILE
from signals.models import Feed
from users.models import User
from users.tenancy import for_all_tenants

MAX_SIGNAL_AGE = 14_400  # market seconds: four minutes at 60 times the speed
PRICES = "Payrolls, 2 May 2014"


@transaction.atomic
def seed() -> int:
    """Write users, presets, prices, a feed, accounts and subscriptions; return the account count.

    Only missing rows are written: a second run changes nothing.
    """
    with for_all_tenants():
        every_account = accounts.demo_accounts()
        users = _users()
        presets = _presets()
        source = DataConnection.objects.get_or_create(
            name=PRICES, user=None,
            defaults={"settings": {"file": DEFAULT_FILE, "after_the_end": "stand"}},
        )[0]  # fmt: skip
        feed = _feed(users[accounts.OPERATOR])
        list_instruments()
        _paper_accounts(every_account)
        _connections(every_account, users, presets, source)
        _subscriptions([account for account in every_account if not account.is_operators], feed)
    return len(every_account)


def _users() -> dict[str, User]:
    """Return the demo's users by name; create missing ones. Hashing is slow, so it is done once."""
    names = (accounts.OPERATOR, *accounts.NAMES)
    known = set(User.objects.filter(username__in=names).values_list("username", flat=True))
    if missing := [name for name in names if name not in known]:
        hashed = make_password(accounts.PASSWORD)
        User.objects.bulk_create(_user(name, hashed) for name in missing)
    return {user.username: user for user in User.objects.filter(username__in=names)}


def _user(name: str, hashed: str) -> User:
    is_operator = name == accounts.OPERATOR
    return User(
        username=name, password=hashed, first_name=name.title(), is_staff=is_operator,
        is_superuser=is_operator,
    )  # fmt: skip


def _presets() -> dict[str, TradingPreset]:
    shared = TradingPreset.objects.filter(user=None)
    known = set(shared.values_list("name", flat=True))
    for name, values in accounts.PRESETS.items():
        if name not in known:
            preset = TradingPreset.objects.create(
                name=name, max_signal_age_seconds=MAX_SIGNAL_AGE, **values
            )
            if name in accounts.LOSS_LIMITS:
                LossLimit.objects.create(preset=preset, **accounts.LOSS_LIMITS[name])
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


def _paper_accounts(every_account: Sequence[Account]) -> None:
    hashed = hash_password(accounts.ACCOUNT_PASSWORD)
    PaperAccount.objects.bulk_create(
        [
            PaperAccount(
                number=account.number, owner=account.owner, password_hash=hashed,
                commission_per_million=Decimal(30), **account.paper,
            )
            for account in every_account
        ],
        ignore_conflicts=True,
    )  # fmt: skip


def _connections(
    every_account: Sequence[Account],
    users: dict[str, User],
    presets: dict[str, TradingPreset],
    source: DataConnection,
) -> None:
    known = set(ExecutionConnection.objects.values_list("id", flat=True))
    missing = [account for account in every_account if account.id not in known]
    ExecutionConnection.objects.bulk_create(
        _connection(account, users[account.owner], presets[account.preset], source)
        for account in missing
    )
    ids = [account.id for account in missing]
    ConnectionHealth.objects.bulk_create(ConnectionHealth(connection_id=id_) for id_ in ids)
    ConnectionLock.objects.bulk_create(ConnectionLock(connection_id=id_) for id_ in ids)


def _connection(
    account: Account, owner: User, preset: TradingPreset, source: DataConnection
) -> ExecutionConnection:
    owner_field: dict[str, Any] = {"admin" if account.is_operators else "user": owner}
    sealed = seal_credentials(
        {"password": account.trait.password}, connection_id=account.id, owner_id=owner.pk
    )
    return ExecutionConnection(
        id=account.id, name=account.name, type="paper", account=account.number, preset=preset,
        data_connection=source, sealed_credentials=sealed, created_at=accounts.SEEDED_AT,
        **owner_field, **account.trait.connection,
    )  # fmt: skip


def _subscriptions(tenants: Sequence[Account], feed: Feed) -> None:
    known = set(Subscription.objects.filter(feed=feed).values_list("connection_id", flat=True))
    created = Subscription.objects.bulk_create(
        Subscription(connection_id=account.id, feed=feed, **account.trait.subscription)
        for account in tenants
        if account.id not in known
    )
    SubscriptionInterval.objects.bulk_create(
        SubscriptionInterval(subscription=subscription, started_at=accounts.SEEDED_AT)
        for subscription in created
    )
