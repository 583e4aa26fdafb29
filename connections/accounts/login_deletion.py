"""Deleting one's own login: what is open is shown first, what is at risk refuses it.

History that must be kept (orders, positions, signals, audit trail) keeps its user's row, without
name, address or password: `deleted-7`. Everything that could act or be reached ends.
"""

from dataclasses import dataclass

from django.db.models import QuerySet

from alerts.models import TelegramBot
from common.db.audit_trail import changed_by
from common.errors import ConflictError, NotAllowedError
from common.reason_codes import Code
from connections.accounts.services import archive_connection
from connections.exposure import describe_open_items, open_items
from connections.market_data.sources import other_accounts_using
from connections.models import ExecutionConnection, Subscription
from signals.feeds.services import archive_feed
from signals.locks import feed_exclusive
from signals.models import Feed
from users.models import ApiKey, User
from users.people.deletion import remove_login
from users.tenancy import for_all_tenants, on_behalf_of


@dataclass(frozen=True, slots=True)
class LoginItem:
    """One thing that the login has. is_at_risk: it must be ended by hand first. page: where."""

    text: str
    is_at_risk: bool = False
    page: str = ""


def items_of_login(user: User) -> list[LoginItem]:
    """Return what the user has: first what refuses the deletion, then what it ends."""
    with on_behalf_of(user):
        accounts = list(_accounts(user))
        items = [item for account in accounts for item in _risks_of(account)]
        items += _followed_feeds(user)
        live = Subscription.objects.filter(connection__in=accounts, archived_at=None).count()
        feeds = Feed.objects.filter(owner=user, archived_at=None).count()
        keys = ApiKey.objects.filter(user=user, revoked_at=None).count()
    counted = (
        (len(accounts), "account", "/accounts/"), (live, "subscription", "/feeds/"),
        (feeds, "feed", "/publishing/"), (keys, "API key", "/keys/"),
    )  # fmt: skip
    items += [
        LoginItem(f"{count} {word}{'' if count == 1 else 's'}", page=page)
        for count, word, page in counted
        if count
    ]
    return items


def delete_login(user: User) -> None:
    """End all that the user has and make the login unusable, in one transaction.

    Raises ConflictError LOGIN_IN_USE or ACCOUNT_IN_USE while money is at risk or others depend on
    it, NotAllowedError for staff, whom an administrator deactivates.
    """
    if user.is_staff:
        raise NotAllowedError(Code.OWN_RIGHTS)
    if risks := [item.text for item in items_of_login(user) if item.is_at_risk]:
        raise ConflictError(Code.LOGIN_IN_USE, " ".join(risks))
    with on_behalf_of(user), changed_by(user.pk):
        for account in _accounts(user).order_by("pk"):
            archive_connection(account.pk, by=user)  # looks again, with the claim's lock
        ExecutionConnection.objects.filter(user=user).update(sealed_credentials=None)
        _archive_feeds(user)
        TelegramBot.objects.filter(feed__owner=user).delete()
        remove_login(user)


def _accounts(user: User) -> QuerySet[ExecutionConnection]:
    return ExecutionConnection.objects.filter(user=user, archived_at=None)


def _risks_of(account: ExecutionConnection) -> list[LoginItem]:
    risks = []
    if found := open_items(account.pk):
        text = (
            f"Still open in {account.name}: {describe_open_items(found)}. Close the positions and"
            " cancel the orders first."
        )
        risks.append(LoginItem(text, is_at_risk=True, page="/positions/"))
    if others := other_accounts_using(account.pk):
        text = (
            f"The prices of {account.name} are used by {', '.join(others[:3])}. Choose another"
            " price source there, or ask an administrator, first."
        )
        risks.append(LoginItem(text, is_at_risk=True, page="/accounts/"))
    return risks


def _archive_feeds(user: User) -> None:
    """Archive the user's feeds. Raises ConflictError LOGIN_IN_USE if one is followed by now."""
    feeds = Feed.objects.filter(owner=user, archived_at=None).order_by("pk")
    feed_ids = list(feeds.values_list("pk", flat=True))
    for feed_id in feed_ids:
        feed_exclusive(feed_id)  # from here on no account subscribes
    if followed := _followed_feeds(user):  # subscribed a moment ago
        raise ConflictError(Code.LOGIN_IN_USE, followed[0].text)
    for feed_id in feed_ids:
        archive_feed(feed_id)


def _followed_feeds(user: User) -> list[LoginItem]:
    """Return the user's feeds that other users' accounts follow.

    Those of an archived feed get nothing more of it: they depend on its owner no longer.
    """
    with for_all_tenants():  # followers are other tenants; only how many they are leaves this
        followed = Subscription.objects.filter(
            feed__owner=user, feed__archived_at=None, archived_at=None,
            connection__archived_at=None,
        ).exclude(connection__user=user)  # fmt: skip
        count = followed.count()
    if not count:
        return []
    text = (
        f"{count} account{' follows' if count == 1 else 's follow'} your feeds. Close their trades,"
        " then archive the feeds in their settings: an archived feed closes nothing."
    )
    return [LoginItem(text, is_at_risk=True, page="/publishing/")]
