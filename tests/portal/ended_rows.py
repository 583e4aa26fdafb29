"""What is live on pages, and how it ends: for tests that look at both sides of its end."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any
from uuid import UUID

from django.http import Http404

from alerts.key_setups import setups
from alerts.models import TelegramBot, TelegramChat
from common.clocks import market_now
from connections import services
from connections.loss_limits.pauses import resume_after_limit
from connections.models import KillSwitch, Subscription, SubscriptionTwin
from connections.models.twins import TwinEnd
from console.queries.banners import kill_switch_banners
from console.queries.system_status import connections
from portal.selectors.account_page import account_page
from portal.selectors.alerts import addresses_of
from portal.selectors.feeds import feed_options, subscribable_feeds, subscriptions_of
from portal.selectors.halts import halts_affecting
from portal.selectors.loss_limits import own_loss_limits
from portal.selectors.publishing import my_feeds, open_trades_of, own_feed, unpublished
from portal.selectors.telegram import bot_of
from signals import services as signals
from signals.feeds.services import archive_feed, create_feed_token, revoke_feed_token
from signals.models import Action, FeedToken, Signal
from signals.publishing.drafts import discard_draft
from tests.connections import make
from tests.loss_limits import pause_of
from tests.portal.factories import World
from users.models import ApiKey, User
from users.services import create_api_key, revoke_api_key, user_for_key

Case = tuple[Callable[[], bool], Callable[[], object]]
"""Whether something is shown as live, and how it ends."""


def unsubscribe(world: World, place: int = 0) -> Callable[[], object]:
    return lambda: services.unsubscribe(world.subscriptions[place].pk, by=None)


def archive(pk: UUID) -> Callable[[], object]:
    return lambda: services.archive_connection(pk, by=None, although_open=True)


# ---- pauses, limits and halts ------------------------------------------------------------------
def pause_of_an_account(world: World) -> Case:
    pause = pause_of(world.ibkr)

    def shown() -> bool:
        page = account_page(world.alice, world.ibkr.pk, halts=[])
        return page is not None and [one.pk for one in page.pauses] == [pause.pk]

    return shown, lambda: resume_after_limit(pause.pk, by=None)


def limit_of_a_subscription(world: World) -> Case:
    mine = own_loss_limits(world.alice).filter(pk=world.limit.pk)
    return lambda: mine.exists(), unsubscribe(world)


def limit_of_an_archived_account(world: World) -> Case:
    mine = own_loss_limits(world.alice).filter(pk=world.limit.pk)
    return lambda: mine.exists(), archive(world.mt5.pk)


def halt_of_a_feed_that_is_taken(world: World) -> Case:
    taken = make.subscription(make.connection(world.nora), world.carry)
    make.kill_switch("REDUCING", scope="FEED", feed=world.carry)
    return (
        lambda: bool(halts_affecting(world.nora)),
        lambda: services.unsubscribe(taken.pk, by=None),
    )


def halt_of_a_broker_type(world: World) -> Case:
    row = make.connection(world.nora, type="ibkr")
    make.kill_switch("REDUCING", scope="BROKER_TYPE", broker_type="ibkr")
    return lambda: bool(halts_affecting(world.nora)), archive(row.pk)


def halt_that_is_released(world: World) -> Case:
    halt = make.kill_switch("REDUCING", scope="ALL")
    return (
        lambda: bool(halts_affecting(world.nora)) and bool(kill_switch_banners()),
        lambda: KillSwitch.objects.filter(pk=halt.pk).update(released_at=market_now()),
    )


# ---- subscriptions, twins and accounts ---------------------------------------------------------
def subscription(world: World) -> Case:
    mine = subscriptions_of(world.alice).filter(pk=world.subscriptions[0].pk)
    return lambda: mine.exists(), unsubscribe(world)


def subscription_of_an_account(world: World) -> Case:
    mine = subscriptions_of(world.alice).filter(connection=world.mt5)
    return lambda: mine.exists(), archive(world.mt5.pk)


def subscription_before_its_end(world: World) -> Case:
    taken, past = world.subscriptions[0].pk, market_now() - timedelta(seconds=1)
    return lambda: not _listed(world).has_ended, lambda: Subscription.objects.filter(
        pk=taken
    ).update(expires_at=past)


def _listed(world: World) -> Any:
    """Return a subscription with what its list adds to it."""
    return subscriptions_of(world.alice).get(pk=world.subscriptions[0].pk)


def twin_of_a_subscription(world: World) -> Case:
    live, row = world.subscriptions[0], make.connection(world.alice)
    twin = make.subscription(row, live.feed)
    link = SubscriptionTwin.objects.create(
        subscription=live, twin=twin, connection=row, started_at=market_now(),
        opening_balance=D(1000), currency="USD",
    )  # fmt: skip

    def end() -> object:
        ended = {"ended_at": market_now(), "end_reason": TwinEnd.STOPPED}
        return SubscriptionTwin.objects.filter(pk=link.pk).update(**ended)

    return lambda: _listed(world).has_twin, end


def feed_that_only_its_takers_see(world: World) -> Case:
    hidden = make.feed(world.paula, is_public=False)
    taken = make.subscription(make.connection(world.nora), hidden)
    return (
        lambda: subscribable_feeds(world.nora).filter(pk=hidden.pk).exists(),
        lambda: services.unsubscribe(taken.pk, by=None),
    )


def feed_that_is_offered(world: World) -> Case:
    return (
        lambda: subscribable_feeds(world.nora).filter(pk=world.carry.pk).exists(),
        lambda: archive_feed(world.carry.pk),
    )


def feed_that_is_taken(world: World) -> Case:
    row = make.connection(world.nora)
    taken = make.subscription(row, world.carry)

    def shown() -> bool:
        [option] = feed_options(world.nora, [], [world.carry])
        return bool(option.taken)

    return shown, lambda: services.unsubscribe(taken.pk, by=None)


def account_of_the_dashboard(world: World) -> Case:
    before = connections().total
    return lambda: connections().total == before, archive(world.mt5.pk)


# ---- addresses and keys ------------------------------------------------------------------------
def key_of_alice(world: World) -> tuple[ApiKey, User | None]:
    key, secret = create_api_key(world.alice, "parent", scopes=["read"])
    return key, user_for_key(secret)


def _address(world: World, **changes: Any) -> Case:
    key, _ = key_of_alice(world)
    token, _ = create_feed_token(world.own)
    FeedToken.objects.filter(pk=token.pk).update(made_with=key)

    def end() -> object:
        if "key" in changes:
            return revoke_api_key(key.pk, by=None)
        return FeedToken.objects.filter(pk=token.pk).update(**changes)

    def shown() -> bool:
        found = {one.token.pk: one.is_open for one in addresses_of(world.own)}
        listed = any(one.kind == "alert address" for one in setups([key.pk]))
        return found[token.pk] and (listed or "key" in changes)

    return shown, end


def address_that_is_revoked(world: World) -> Case:
    return _address(world, revoked_at=datetime.now(UTC))


def address_whose_time_is_over(world: World) -> Case:
    return _address(world, expires_at=datetime.now(UTC) - timedelta(seconds=1))


def address_of_a_revoked_key(world: World) -> Case:
    return _address(world, key="revoked")


def address_among_what_a_key_set_up(world: World) -> Case:
    key, _ = key_of_alice(world)
    token, _ = create_feed_token(world.own)
    FeedToken.objects.filter(pk=token.pk).update(made_with=key)
    past = datetime.now(UTC) - timedelta(seconds=1)
    return (
        lambda: any(setups([key.pk])),
        lambda: FeedToken.objects.filter(pk=token.pk).update(expires_at=past),
    )


def revoked_address_among_what_a_key_set_up(world: World) -> Case:
    key, _ = key_of_alice(world)
    token, _ = create_feed_token(world.own)
    FeedToken.objects.filter(pk=token.pk).update(made_with=key)
    return lambda: any(setups([key.pk])), lambda: revoke_feed_token(token.pk)


def chat_of_a_key(world: World) -> Case:
    key, _ = key_of_alice(world)
    TelegramBot.objects.filter(feed=world.own).delete()
    bot = TelegramBot.objects.create(
        feed=world.own, bot_id=5, token_sealed=b"", checked_at=datetime.now(UTC)
    )
    TelegramChat.objects.create(
        bot=bot, chat_id=-5, kind="channel", title="c", is_allowed=True, made_with=key
    )

    def shown() -> bool:
        found = bot_of(world.own)
        return found is not None and found.label == "Reads"

    return shown, lambda: revoke_api_key(key.pk, by=None)


# ---- signals and drafts ------------------------------------------------------------------------
def _trade(world: World) -> Signal:
    return make.signal(world.own, published_at=market_now())


def _is_open(trade: Signal) -> Callable[[], bool]:
    return lambda: open_trades_of(trade.feed).filter(pk=trade.pk).exists()


def _close(trade: Signal, **values: Any) -> Signal:
    fields: dict[str, Any] = {"action": Action.CLOSE, "refers_to": trade, "close_fraction": 1}
    return make.signal(trade.feed, **{**fields, **values})


def trade_that_is_closed(world: World) -> Case:
    trade = _trade(world)
    _close(trade)  # not published: it has closed nothing
    _close(trade, close_fraction=D("0.5"), published_at=market_now())
    return _is_open(trade), lambda: _close(trade, published_at=market_now())


def trade_that_is_cancelled(world: World) -> Case:
    trade = _trade(world)
    return _is_open(trade), lambda: signals.cancel(trade.pk, by=None)


def signal_that_waits(world: World) -> Case:
    waiting = unpublished(world.own).filter(pk=world.waiting.pk)
    return lambda: waiting.exists(), lambda: signals.cancel(world.waiting.pk, by=None)


def draft_that_waits(world: World) -> Case:
    def count() -> int:
        found: Any = my_feeds(world.alice).get(pk=world.own.pk)
        return int(found.draft_count)

    return lambda: count() == 1, lambda: discard_draft(world.draft.pk, by=world.alice)


def feed_of_a_provider(world: World) -> Case:
    def shown() -> bool:
        try:
            return own_feed(world.alice, world.own.slug).pk == world.own.pk
        except Http404:
            return False

    return shown, lambda: archive_feed(world.own.pk)


CASES = [
    pause_of_an_account, limit_of_a_subscription, limit_of_an_archived_account,
    halt_of_a_feed_that_is_taken, halt_of_a_broker_type, halt_that_is_released, subscription,
    subscription_of_an_account, subscription_before_its_end, twin_of_a_subscription,
    feed_that_only_its_takers_see, feed_that_is_offered, feed_that_is_taken,
    account_of_the_dashboard, address_that_is_revoked, address_whose_time_is_over,
    address_of_a_revoked_key, address_among_what_a_key_set_up,
    revoked_address_among_what_a_key_set_up, chat_of_a_key, trade_that_is_closed,
    trade_that_is_cancelled, signal_that_waits, draft_that_waits, feed_of_a_provider,
]  # fmt: skip
