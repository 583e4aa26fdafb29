"""The route of a subscription: several accounts, of which one executes each signal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from django.db import transaction

from common.errors import CollectedErrors, ConflictError, InvalidInputError
from common.reason_codes import Code
from connections.account_settings.validation import invalid_symbols_message
from connections.accounts.paper_accounts import PAPER
from connections.accounts.permissions import NOT_FOUND_MESSAGE
from connections.accounts.services import lock_connection
from connections.models import (
    AccountSnapshot,
    ExecutionConnection,
    RoutePolicy,
    Subscription,
    SubscriptionRoute,
    SubscriptionTwin,
)
from connections.twin_links import refuse_twin
from signals.locks import candidates_exclusive
from signals.symbols import read_pair
from users.models import User

MAX_ACCOUNTS = 10
MAX_SHARE = 1000


@dataclass(frozen=True, slots=True)
class RouteAccount:
    """An account of a route. share: its part of the signals with the policy SHARE. symbol_map: its
    own symbols by pair, before those of the subscription."""

    connection_id: UUID
    share: int = 1
    symbol_map: Mapping[str, str] = field(default_factory=dict)


def routable_accounts(subscription: Subscription) -> list[ExecutionConnection]:
    """Return the owner's other accounts that do not take the subscription's feed themselves."""
    owner = subscription.connection.user_id
    if owner is None:
        return []
    takers = Subscription.objects.filter(feed_id=subscription.feed_id, archived_at=None)
    own = ExecutionConnection.objects.filter(user_id=owner, archived_at=None, twin_of=None)
    free = own.exclude(pk__in=takers.values("connection"))
    return list(free.defer("sealed_credentials").order_by("name", "pk"))


@transaction.atomic
def set_route(
    subscription_id: int,
    *,
    by: User | None,
    policy: str | None = None,
    accounts: Sequence[RouteAccount] | None = None,
) -> bool:
    """Let one of several accounts execute each signal of a subscription, from the next one on.

    policy: a `RoutePolicy`; empty, without accounts: the subscribing account alone. accounts: in
    the order in which equally good ones are taken; the subscribing one is among them. What is None
    stays as it is.

    Returns False if nothing changed. Raises InvalidInputError with all faults; ConflictError if the
    subscription has ended or is one of sample orders; NotAllowedError.
    """
    subscription = Subscription.objects.select_related("connection").get(pk=subscription_id)
    refuse_twin(lock_connection(subscription.connection_id, by, archived_too=True))
    candidates_exclusive(subscription.feed_id)
    subscription.refresh_from_db()
    if subscription.archived_at is not None:
        raise ConflictError(Code.STATE_CONFLICT, "The subscription has ended.")
    if subscription.demo_only:
        raise ConflictError(Code.STATE_CONFLICT, "Sample orders are for one account: no route.")
    known = _accounts_of(subscription)
    policy = subscription.route_policy if policy is None else policy
    accounts = _check(subscription, policy, known if accounts is None else accounts)
    if subscription.route_policy == policy and known == list(accounts):
        return False
    subscription.routes.all().delete()
    SubscriptionRoute.objects.bulk_create(
        SubscriptionRoute(
            subscription=subscription,
            feed_id=subscription.feed_id,
            connection_id=account.connection_id,
            rank=rank,
            share=account.share,
            symbol_map=account.symbol_map,
        )
        for rank, account in enumerate(accounts)
    )
    Subscription.objects.filter(pk=subscription_id).update(route_policy=policy)
    return True


def currencies_of_route(subscription: Subscription) -> Mapping[UUID, str]:
    """Return the currency of the subscribing account and of each one of its route, as last read."""
    others = subscription.routes.values_list("connection", flat=True)
    accounts = [subscription.connection_id, *others]
    found = AccountSnapshot.objects.filter(connection__in=accounts)
    return dict(found.values_list("connection_id", "currency"))


def route_errors(
    subscription: Subscription,
    *,
    policy: str | None = None,
    accounts: Sequence[RouteAccount] | None = None,
) -> list[InvalidInputError]:
    """Return what `set_route` would refuse. subscription: may be one that is not stored yet."""
    policy = subscription.route_policy if policy is None else policy
    accounts = _accounts_of(subscription) if accounts is None else accounts
    faults = CollectedErrors()
    faults.attempt(lambda: _check(subscription, policy, accounts))
    return faults.errors


def _accounts_of(subscription: Subscription) -> list[RouteAccount]:
    found = SubscriptionRoute.objects.filter(subscription_id=subscription.pk).order_by("rank")
    return [RouteAccount(*row) for row in found.values_list("connection_id", "share", "symbol_map")]


def _check(
    subscription: Subscription, policy: str, accounts: Sequence[RouteAccount]
) -> list[RouteAccount]:
    """Return the accounts with their symbol maps as they are stored."""
    if policy not in ("", *RoutePolicy.values):
        detail = f"One of {', '.join(RoutePolicy.values)}, or empty."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="route_policy")
    faults = _faults(subscription, policy, accounts)
    read, wrong = _read_maps(subscription, accounts)
    if faults := [*faults, *wrong]:
        first, *others = [
            InvalidInputError(Code.FIELD_INVALID, fault, field="route") for fault in faults
        ]
        raise InvalidInputError(first.code, first.detail, field="route", others=others)
    return read


def _read_maps(
    subscription: Subscription, accounts: Sequence[RouteAccount]
) -> tuple[list[RouteAccount], list[str]]:
    """Return the accounts with validated symbol maps, and what is wrong with the others."""
    found = ExecutionConnection.objects.filter(pk__in=[one.connection_id for one in accounts])
    known = {pk: (name, kind) for pk, name, kind in found.values_list("pk", "name", "type")}
    read, faults = [], []
    for account in accounts:
        name, broker_type = known.get(account.connection_id, ("", ""))
        if account.symbol_map and account.connection_id == subscription.connection_id:
            faults.append(f"{name} has the symbol map of the subscription: set it there.")
        try:
            symbols = read_symbol_map(account.symbol_map, broker_type) if name else {}
            read.append(replace(account, symbol_map=symbols))
        except InvalidInputError as error:
            faults.append(f"{name}: {error.detail}")
    return read, faults


def _faults(subscription: Subscription, policy: str, accounts: Sequence[RouteAccount]) -> list[str]:
    if not policy:
        return ["Choose a policy, or name no accounts."] if accounts else []
    ids = [account.connection_id for account in accounts]
    faults = []
    if not 2 <= len(ids) <= MAX_ACCOUNTS:
        faults.append(f"Name 2 to {MAX_ACCOUNTS} accounts.")
    if len(set(ids)) < len(ids):
        faults.append("An account is named twice.")
    if subscription.connection_id not in ids:
        faults.append("The subscribing account must be one of them.")
    if subscription.connection.is_admin_owned():
        faults.append("Accounts of operators take feeds without a subscription: no route.")
    if any(not 0 <= account.share <= MAX_SHARE for account in accounts):
        faults.append(f"A share is 0 to {MAX_SHARE}.")
    elif policy == RoutePolicy.SHARE and not any(account.share for account in accounts):
        faults.append("At least one share must be above 0.")
    return faults + _faults_of_others(subscription, set(ids) - {subscription.connection_id})


def _faults_of_others(subscription: Subscription, ids: set[UUID]) -> list[str]:
    """Return what is wrong with the accounts besides the subscribing one. The feed is locked."""
    owner = subscription.connection.user_id
    if owner is None:
        return []
    own = ExecutionConnection.objects.filter(user_id=owner, archived_at=None, twin_of=None)
    found = own.filter(pk__in=ids)
    names = dict(found.values_list("pk", "name"))
    faults = [f"{missing}: {NOT_FOUND_MESSAGE}" for missing in sorted(map(str, ids - set(names)))]
    live = Subscription.objects.filter(
        feed_id=subscription.feed_id, archived_at=None, connection__in=names
    )
    takers = live.values_list("connection__name", flat=True)
    faults += [f"{name} takes this feed itself: unsubscribe it first." for name in takers]
    routed = SubscriptionRoute.objects.filter(
        feed_id=subscription.feed_id, connection__in=names
    ).exclude(subscription_id=subscription.pk)
    names_routed = routed.values_list("connection__name", flat=True)
    faults += [f"{name} is in another route of this feed." for name in names_routed]
    return faults + _faults_of_twin(subscription, names)


def _faults_of_twin(subscription: Subscription, names: Mapping[UUID, str]) -> list[str]:
    """Return which accounts a running paper twin cannot be compared with."""
    twin = SubscriptionTwin.objects.filter(subscription=subscription.pk, ended_at=None).first()
    if twin is None:
        return []
    on_paper = ExecutionConnection.objects.filter(pk__in=names, type=PAPER)
    paper = [
        f"{name} is a paper account, and a paper twin runs: it is compared with real money."
        for name in on_paper.values_list("name", flat=True)
    ]
    found = AccountSnapshot.objects.filter(connection__in=names)
    currencies = dict(found.values_list("connection_id", "currency"))
    unread = [
        f"{name} was not read yet, so its currency is unknown: test it, or stop the paper twin."
        for pk, name in names.items()
        if pk not in currencies
    ]
    return (
        paper
        + unread
        + [
            f"{names[pk]} counts in {currency}, the running paper twin in {twin.currency}: stop the"
            " twin first."
            for pk, currency in currencies.items()
            if currency != twin.currency
        ]
    )


def check_not_routed(connection: ExecutionConnection, feed_id: int) -> None:
    """Raise ConflictError if an account is in a route of a feed, and so may not subscribe to it.

    The caller holds the feed's candidate lock.
    """
    routed = SubscriptionRoute.objects.filter(feed_id=feed_id, connection=connection)
    other = routed.exclude(subscription__connection=connection).first()
    if other is not None:
        name = other.subscription.connection.name
        raise ConflictError(
            Code.STATE_CONFLICT, f"The account is in the route of {name} for this feed."
        )


def read_symbol_map(value: Mapping[str, str], broker_type: str) -> dict[str, str]:
    """Return the validated map from canonical pair to the broker's symbol.

    Raises InvalidInputError for `symbol_map`.
    """
    try:
        read = {read_pair(pair): str(symbol) for pair, symbol in value.items()}
    except InvalidInputError as error:
        raise InvalidInputError(error.code, error.detail, field="symbol_map") from error
    if wrong := invalid_symbols_message(broker_type, list(read.values())):
        raise InvalidInputError(Code.FIELD_INVALID, wrong, field="symbol_map")
    return read
