"""Start and stop the paper twin of a subscription. Public through `connections.services`.

The twin is a paper account with a subscription of its own to the same feed, so that each signal
reaches both by the ordinary fan-out. It follows the live subscription (`twin_links.py`)
and counts nowhere as a follower.
"""

import secrets
from datetime import timedelta
from decimal import Decimal

from django.db import transaction

from common.clocks import market_now
from common.errors import ConflictError
from common.failpoints import failpoint
from common.permissions import Right, require
from common.reason_codes import Code
from common.web.quotas import lock_quota
from connections.accounts.paper_accounts import PAPER, connect_paper_account
from connections.accounts.services import lock_connection
from connections.models import (
    AccountSnapshot,
    ExecutionConnection,
    PriorityClass,
    Subscription,
    SubscriptionInterval,
    SubscriptionTwin,
    TwinEnd,
)
from connections.subscriptions.routes import currencies_of_route
from connections.twin_links import (
    NUMBER_PREFIX,
    end_twins,
    follow_twin,
    twin_symbol_map,
)
from signals.locks import candidates_exclusive, feed_shared, require_not_archived
from users.models import User

MAX_TWINS = 5  # of one user that run at a time
MAX_A_DAY = 15  # each leaves rows behind at the paper broker
CENT = Decimal("0.01")


@transaction.atomic
def start_twin(subscription_id: int, *, by: User) -> tuple[SubscriptionTwin, bool]:
    """Run a paper twin beside a live subscription from the next publication on.

    Return it, and whether it is a new one: a running one is returned as it is. Its account has the
    currency, leverage, position mode and last equity of the subscribing one, and its preset; its
    test is requested, and the caller enqueues that on commit (`connections.tasks.enqueue_test`).
    Entries wait for it.

    Raises NotAllowedError; ConflictError TWIN_NOT_POSSIBLE, TWIN_LIMIT, ACCOUNT_NOT_SYNCED,
    NO_PRESET, NO_SHARED_PRICES, QUOTA_REACHED, STATE_CONFLICT if the subscription has ended or its
    feed is archived.
    """
    for right in (Right.CONNECTIONS, Right.CREDENTIALS):
        require(by, right, owner_id=by.pk)
    lock_quota("accounts", by.pk)  # counts them once
    live = _lock_live(subscription_id, by)
    known = SubscriptionTwin.objects.filter(subscription=live, ended_at=None)
    if running := known.select_related("connection", "subscription__feed").first():
        return running, False
    account = _check(live, by)
    connection = connect_paper_account(
        by=by, number=_number(by), name=f"Paper twin of {live.connection.name}"[:100],
        preset=live.connection.preset,
        terms={
            "balance": account.equity.quantize(CENT), "currency": account.currency,
            "leverage": account.leverage, "position_mode": account.position_mode,
        },
    )  # fmt: skip
    failpoint("twin.opened")
    candidates_exclusive(live.feed_id)
    feed = feed_shared(live.feed_id)
    require_not_archived(feed)
    return _link(live, connection, account), True


def twin_obstacle(live: Subscription) -> str:
    """Return why a subscription can have no twin now; empty: nothing of its own forbids it."""
    if live.archived_at is not None or live.connection.archived_at is not None:
        return "The live subscription has ended."
    if live.connection.type == PAPER:
        return "This is a paper account already: a twin runs beside an account with real money."
    return _route_obstacle(live)


def _route_obstacle(live: Subscription) -> str:
    """Return which account of the route cannot be compared; empty: none, or there is no route."""
    currencies = currencies_of_route(live)
    own = currencies.get(live.connection_id)
    if own is None:
        return ""  # it is refused as not synced
    others = live.routes.exclude(connection=live.connection_id).order_by("rank")
    for pk, name, kind in others.values_list(
        "connection_id", "connection__name", "connection__type"
    ):
        if kind == PAPER:
            return f"{name} of its route is a paper account: a twin is compared with real money."
        if pk not in currencies:
            return f"{name} of its route was not read yet: test it, so that its currency is known."
        if currencies[pk] != own:
            return f"{name} of its route counts in {currencies[pk]}: a twin compares one currency."
    return ""


def stop_twin(subscription_id: int, *, by: User | None) -> SubscriptionTwin | None:
    """End the running twin of a subscription; return it, None if there is none.

    It takes no later signal. Its positions are closed and its account is archived by a trading
    process (`execution.tasks.wind_up_twins`); its history stays.
    """
    with transaction.atomic():
        live = _lock_subscription(subscription_id, by)
        twin = SubscriptionTwin.objects.filter(subscription=live, ended_at=None).first()
        if twin is None:
            return None
        candidates_exclusive(live.feed_id)
        end_twins(market_now(), TwinEnd.STOPPED, pk=twin.pk)
        twin.refresh_from_db()
        return twin


def end_twins_of_archived_feeds() -> int:
    """End the twins whose feed is archived; return how many. For the sweep."""
    ended = 0
    over = SubscriptionTwin.objects.filter(
        ended_at=None, subscription__feed__archived_at__isnull=False
    )
    for pk, feed_id in over.order_by("subscription__feed_id", "pk").values_list(
        "pk", "subscription__feed_id"
    ):
        with transaction.atomic():
            candidates_exclusive(feed_id)
            ended += end_twins(market_now(), TwinEnd.FEED, pk=pk)
    return ended


def _lock_subscription(subscription_id: int, by: User | None) -> Subscription:
    """Return the subscription under its account's lock, which its changes take, too."""
    ids = Subscription.objects.values_list("connection_id", flat=True)
    lock_connection(ids.get(pk=subscription_id), by, archived_too=True)
    related = ("connection__preset", "feed")
    return Subscription.objects.select_related(*related).get(pk=subscription_id)


def _lock_live(subscription_id: int, by: User) -> Subscription:
    """Return a subscription that may have a twin, locked. Raises ConflictError."""
    live = _lock_subscription(subscription_id, by)
    if live.archived_at is not None or live.connection.archived_at is not None:
        raise ConflictError(Code.STATE_CONFLICT, "The subscription has ended.")
    if live.connection.user_id != by.pk:
        raise ConflictError(Code.TWIN_NOT_POSSIBLE, "Only the account's owner can run a twin.")
    if obstacle := twin_obstacle(live):
        raise ConflictError(Code.TWIN_NOT_POSSIBLE, obstacle)
    return live


def _check(live: Subscription, by: User) -> AccountSnapshot:
    """Return the live account as last read. Raises ConflictError for what is missing."""
    mine = SubscriptionTwin.objects.filter(connection__user=by)
    if mine.filter(ended_at=None).count() >= MAX_TWINS:
        detail = f"You have {MAX_TWINS} running paper twins, the most that one user may have."
        raise ConflictError(Code.TWIN_LIMIT, detail)
    if mine.filter(started_at__gt=market_now() - timedelta(days=1)).count() >= MAX_A_DAY:
        raise ConflictError(
            Code.TWIN_LIMIT, f"You have started {MAX_A_DAY} paper twins within a day."
        )
    if live.connection.preset_id is None:
        raise ConflictError(Code.NO_PRESET)
    account = AccountSnapshot.objects.filter(connection=live.connection).first()
    if account is None:
        raise ConflictError(Code.ACCOUNT_NOT_SYNCED)
    if account.equity.quantize(CENT) <= 0:
        detail = "The account's last equity is not above 0, so a twin would have no money."
        raise ConflictError(Code.TWIN_NOT_POSSIBLE, detail)
    return account


def _link(
    live: Subscription, connection: ExecutionConnection, account: AccountSnapshot
) -> SubscriptionTwin:
    """Subscribe the paper account on the live terms, and store what belongs together."""
    now = market_now()
    twin = Subscription.objects.create(
        connection=connection, feed=live.feed, symbol_map=twin_symbol_map(live, PAPER),
        priority=PriorityClass.LOW,  # it never delays an order with real money
    )  # fmt: skip
    SubscriptionInterval.objects.create(subscription=twin, started_at=now)
    link = SubscriptionTwin.objects.create(
        subscription=live, twin=twin, connection=connection, started_at=now,
        opening_balance=account.equity.quantize(CENT), currency=account.currency,
    )  # fmt: skip
    follow_twin(subscription_id=live.pk)
    twin.refresh_from_db()
    return link


def _number(user: User) -> str:
    return f"{NUMBER_PREFIX}{user.pk}-{secrets.token_hex(6)}"
