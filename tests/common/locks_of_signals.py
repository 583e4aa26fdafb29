"""Acts about feeds, signals and quotas, each with the advisory locks that it takes."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal as D

from analytics.preflight.services import request_preflight
from connections import services
from connections.models import SubscriptionTwin
from connections.subscriptions.routes import RouteAccount, set_route
from events.confirmation import request_confirmation
from events.models import Channel
from signals import services as signals
from signals.feeds.services import create_feed_token
from signals.models import Action, Direction, Feed, Origin
from signals.publishing.closing import TradeSelection, close_trades
from signals.publishing.drafts import publish_draft, store_draft
from signals.publishing.ingest import save_draft
from signals.reading.draft import SignalDraft
from signals.sequence import _key, lock_alert_order
from tests.common.advisory_locks import (
    Lock,
    by_numbers,
    by_text,
)
from tests.connections import make
from tests.users.rights_table import BODY, Rows
from users.services import create_api_key

NOW = datetime(2026, 3, 11, 12, tzinfo=UTC)
DRAFT = SignalDraft(pair="EUR/USD", direction=Direction.BUY)
Case = tuple[Callable[[], object], list[Lock]]


def of_feed(feed: Feed, mode: str) -> Lock:
    return by_numbers(f"the candidates of {feed}", 0x46434101, feed.pk, mode)


def of_operators(mode: str) -> Lock:
    return by_numbers("the operators' accounts", 0x46434100, 0, mode)


def published(feed: Feed) -> list[Lock]:
    return [of_operators("shared"), of_feed(feed, "shared")]


def quota(kind: str, owner_id: int | None) -> Lock:
    return by_text(f"quota of {kind}: {owner_id}")


# ---- who is a candidate ------------------------------------------------------------------------
def publish_a_signal(of: Rows) -> Case:
    return lambda: signals.publish(of.signal.pk, by=of.alice), published(of.private)


def publish_a_stored_draft(of: Rows) -> Case:
    return lambda: publish_draft(of.draft.pk, by=of.alice), published(of.private)


def subscribe(of: Rows) -> Case:
    owner, feed = make.user(), make.feed()
    row = make.ready(make.connection(owner))
    return (
        lambda: services.subscribe(connection_id=row.pk, feed_id=feed.pk, by=None),
        [quota("subscriptions", owner.pk), of_feed(feed, "exclusive")],
    )


def end_a_subscription(of: Rows) -> Case:
    return (
        lambda: services.unsubscribe(of.subscription.pk, by=None),
        [of_feed(of.private, "exclusive")],
    )


def route_a_subscription(of: Rows) -> Case:
    accounts = [RouteAccount(of.account.pk), RouteAccount(make.connection(of.alice).pk)]
    return (
        lambda: set_route(of.subscription.pk, by=None, policy="PRICE", accounts=accounts),
        [of_feed(of.private, "exclusive")],
    )


def archive_an_account(of: Rows) -> Case:
    make.subscription(of.account, other := make.feed())
    return (
        lambda: services.archive_connection(of.account.pk, by=None),
        [of_feed(of.private, "exclusive"), of_feed(other, "exclusive")],
    )


def archive_an_operators_account(of: Rows) -> Case:
    row = make.connection(admin=make.user(is_staff=True))
    return lambda: services.archive_connection(row.pk, by=None), [of_operators("exclusive")]


def add_an_operators_account(of: Rows) -> Case:
    owner = make.user(is_staff=True)
    return (
        lambda: services.create_connection(
            by=None, admin=owner, name="a", type="paper", account="1"
        ),
        [quota("accounts", owner.pk), of_operators("exclusive")],
    )


def stop_a_twin(of: Rows) -> Case:
    live = make.subscription(make.connection(type="mt5"), make.feed())
    twin = make.subscription(make.connection(live.connection.user), live.feed)
    SubscriptionTwin.objects.create(
        subscription=live, twin=twin, connection=twin.connection, started_at=NOW,
        opening_balance=D(1000), currency="USD",
    )  # fmt: skip
    return (
        lambda: services.stop_twin(live.pk, by=live.connection.user),
        [of_feed(live.feed, "exclusive")],
    )


# ---- the order of alerts -----------------------------------------------------------------------
def order_alerts_of_a_symbol(of: Rows) -> Case:
    locks = [
        by_numbers("the alerts of the feed", 0x46434111, of.private.pk, "shared"),
        by_numbers("the alerts of the symbol", 0x46434112, _key(of.private, "EUR/USD")),
    ]
    return lambda: lock_alert_order(of.private, "EUR/USD"), [*locks, *published(of.private)]


def order_alerts_of_all_symbols(of: Rows) -> Case:
    lock = by_numbers("the alerts of the feed", 0x46434111, of.private.pk)
    return lambda: lock_alert_order(of.private, ""), [lock, *published(of.private)]


def close_all_trades(of: Rows) -> Case:
    lock = by_numbers("the alerts of the feed", 0x46434111, of.private.pk)
    return (
        lambda: close_trades(of.private, TradeSelection(), origin=Origin.API, by=of.alice),
        [lock, *published(of.private)],
    )


def store_an_alert(of: Rows) -> Case:
    key = int(DRAFT.digest(with_time=True)[:8], 16) - 2**31
    return (
        lambda: save_draft(of.private, DRAFT, origin=Origin.ALERT, by=of.alice),
        [by_numbers("equal alerts", 0x46434110, key)],
    )


# ---- quotas ------------------------------------------------------------------------------------
def make_an_address(of: Rows) -> Case:
    return lambda: create_feed_token(of.private), [quota("alert tokens", of.alice.pk)]


def make_a_key(of: Rows) -> Case:
    return lambda: create_api_key(of.alice, "k"), [quota("API keys", of.alice.pk)]


def keep_a_draft(of: Rows) -> Case:
    feed = make.feed()
    return (
        lambda: store_draft(feed.pk, action=Action.OPEN, body=BODY, by=feed.owner),
        [quota("drafts", feed.owner_id)],
    )


def ask_for_a_preflight(of: Rows) -> Case:
    return (
        lambda: request_preflight(connection_id=of.account.pk, feed_id=of.private.pk, by=of.alice),
        [quota("preflights under way", of.alice.pk)],
    )


def ask_for_a_confirmation(of: Rows) -> Case:
    channel = Channel.objects.create(user=of.alice, name="mail", url_display="mailto:a@b.c")
    return (
        lambda: request_confirmation(channel.pk),
        [by_text("channel confirmation", seed=of.alice.pk)],
    )
