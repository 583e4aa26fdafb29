"""Quotas: what counts, and that two requests at once do not exceed one."""

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from common.errors import ConflictError
from common.operational.reading import InvalidDocumentError, read
from common.quota_kinds import QUOTAS, setting_name
from common.reason_codes import Code
from connections import services
from connections.models import ExecutionConnection, LossLimit, Subscription, TradingPreset
from signals.feeds.approval_requests import request_approval
from signals.feeds.services import (
    archive_feed,
    create_feed_token,
    revoke_feed_token,
    rotate_feed_token,
)
from signals.feeds.terms import change_terms
from signals.models import Action, Feed, FeedToken
from signals.publishing.drafts import store_draft
from tests.changes.concurrent_forms import at_once
from tests.connections import make
from tests.loss_limits import limit_of
from tests.operational import set_quota, set_setting
from users.models import ApiKey, User
from users.services import create_api_key, revoke_api_key, user_for_key

pytestmark = pytest.mark.django_db
PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def new_preset(owner: User | None, by: User | None = None, **fields: Any) -> TradingPreset:
    preset = TradingPreset(user=owner, name="one", risk_percent=Decimal(1))
    return services.create_preset(preset, by=by or owner, **fields)


@pytest.mark.django_db(transaction=True)
def test_of_two_requests_at_once_one_creates_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are held at their commit, where the owner's row is checked."""
    set_quota("presets", 2)
    owner = make.user()
    new_preset(owner)
    answers = at_once(owner, lambda: new_preset(owner), lambda: new_preset(owner))
    (refused,) = [one for one in answers if isinstance(one, Exception)]
    assert isinstance(refused, ConflictError)
    assert refused.code is Code.QUOTA_REACHED
    assert refused.numbers == {"name": "presets", "value": 2, "maximum": 2}
    assert TradingPreset.objects.filter(user=owner).count() == 2


def test_each_owner_has_a_quota_and_the_operators_have_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_quota("presets", 1)
    operator = make.user(is_staff=True)
    for owner in (make.user(), make.user(), None):
        new_preset(owner, by=owner or operator)
        with pytest.raises(ConflictError, match=r"quota is 1 presets;.* Remove some first, or ask"):
            new_preset(owner, by=operator)


def test_what_has_ended_counts_for_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    set_quota("API keys", 1)
    owner = make.user()
    key, _ = create_api_key(owner, "one")
    ApiKey.objects.filter(pk=key.pk).update(created_at=timezone.now() - timedelta(days=2))
    with pytest.raises(ConflictError, match="quota is 1 API keys;"):
        create_api_key(owner, "two")
    revoke_api_key(key.pk)
    revoke_api_key(create_api_key(owner, "two")[0].pk)
    with pytest.raises(ConflictError, match="quota is 1 API keys;"):
        create_api_key(owner, "three")


def test_copy_counts_with_its_loss_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    set_quota("loss limits", 2)
    owner = make.user()
    source = new_preset(owner)
    limit_of(source)
    new_preset(owner, copied_id=source.pk)
    with pytest.raises(ConflictError, match="quota is 2 loss limits;"):
        new_preset(owner, copied_id=source.pk)
    subscription = make.subscription(make.connection(owner), make.feed())
    more = LossLimit(subscription=subscription, maximum=Decimal(5))
    with pytest.raises(ConflictError, match="quota is 2 loss limits;"):
        services.add_loss_limit(more, by=owner)


def test_loss_limits_of_others_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    set_quota("loss limits", 1)
    of_a_tenant = make.subscription(make.connection(), make.feed())
    services.add_loss_limit(LossLimit(subscription=of_a_tenant, maximum=Decimal(5)), by=None)
    for preset in (make.preset(), make.preset(make.user())):
        services.add_loss_limit(LossLimit(preset=preset, maximum=Decimal(5)), by=None)


def test_subscription_that_counts_may_be_reopened(monkeypatch: pytest.MonkeyPatch) -> None:
    set_quota("subscriptions", 1)
    row, feed = make.connection(), make.feed()
    one: dict[str, Any] = {"connection_id": row.pk, "by": None}
    taken = services.subscribe(feed_id=feed.pk, **one)
    services.unsubscribe(taken.pk, by=None)
    assert services.subscribe(feed_id=feed.pk, **one) == taken
    with pytest.raises(ConflictError, match="quota is 1 subscriptions;"):
        services.subscribe(feed_id=make.feed().pk, **one)
    assert Subscription.objects.filter(connection=row).count() == 1


def test_subscription_that_counts_may_be_reopened_beyond_a_lowered_quota(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row, feed = make.connection(), make.feed()
    taken = make.subscription(row, feed)
    make.subscription(row, make.feed())
    set_quota("subscriptions", 1)
    with pytest.raises(ConflictError, match="takes this feed already"):
        services.subscribe(connection_id=row.pk, feed_id=feed.pk, by=None)
    services.unsubscribe(taken.pk, by=None)
    assert services.subscribe(connection_id=row.pk, feed_id=feed.pk, by=None) == taken


def test_loss_limits_of_ended_subscriptions_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """No page shows them."""
    set_quota("loss limits", 1)
    row = make.connection()
    ended = make.subscription(row, make.feed())
    services.add_loss_limit(LossLimit(subscription=ended, maximum=Decimal(5)), by=None)
    services.unsubscribe(ended.pk, by=None)
    live = make.subscription(row, make.feed())
    services.add_loss_limit(LossLimit(subscription=live, maximum=Decimal(5)), by=None)


FEED_ACTS: dict[str, Callable[[Feed, User], object]] = {
    "requests for approval within a day": lambda feed, by: request_approval(feed.pk, by=by),
    "versions of terms within a day": lambda feed, by: change_terms(feed.pk, "Two a day.", by=by),
    "drafts": lambda feed, by: store_draft(feed.pk, action=Action.OPEN, body={}, by=by),
    "alert tokens": lambda feed, _: create_feed_token(feed),
}


@pytest.mark.parametrize("kind", FEED_ACTS)
def test_quota_of_a_provider_is_of_all_feeds_together(kind: str) -> None:
    set_quota(kind, 1)
    for owner in (make.user(), make.user()):
        one, other = (make.feed(owner, is_public=True, is_approved=False) for _ in range(2))
        FEED_ACTS[kind](one, owner)
        with pytest.raises(ConflictError, match=f"quota is 1 {kind}"):
            FEED_ACTS[kind](other, owner)


def lower_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tokens become two days old, and one is the quota."""
    FeedToken.objects.update(created_at=timezone.now() - timedelta(days=2))
    set_quota("alert tokens", 1)


def test_alert_tokens_that_do_not_work_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = make.user()
    archived, feed = make.feed(owner), make.feed(owner)
    create_feed_token(archived)
    archive_feed(archived.pk)
    key, secret = create_api_key(owner, "bot")
    create_feed_token(feed, by=user_for_key(secret))
    revoke_api_key(key.pk)
    revoke_feed_token(create_feed_token(feed)[0].pk)
    lower_quota(monkeypatch)
    create_feed_token(feed)
    with pytest.raises(ConflictError, match="this owner has 1"):
        create_feed_token(feed)


def test_leaked_alert_address_is_replaced_beyond_a_lowered_quota(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner = make.user()
    feed = make.feed(owner)
    leaked, _ = create_feed_token(feed)
    create_feed_token(feed)
    lower_quota(monkeypatch)
    with pytest.raises(ConflictError, match="quota is 1 alert tokens;"):
        rotate_feed_token(leaked.pk, old_ends_at=timezone.now() + timedelta(hours=1))
    rotate_feed_token(leaked.pk, old_ends_at=None)
    assert feed.tokens.filter(revoked_at=None).count() == 2


def test_administrators_accounts_count(monkeypatch: pytest.MonkeyPatch) -> None:
    set_quota("accounts", 1)
    operator = make.user(is_staff=True)
    account: dict[str, Any] = {"by": operator, "admin": operator, "name": "a", "type": "paper"}
    services.create_connection(account="1", **account)
    with pytest.raises(ConflictError, match="quota is 1 accounts;"):
        services.create_connection(account="2", **account)
    assert ExecutionConnection.objects.get().account == "1"


def test_what_adds_no_row_is_never_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = make.user()
    feed = make.feed(owner, is_public=True, is_approved=False)
    draft = store_draft(feed.pk, action=Action.OPEN, body={}, by=owner)
    change_terms(feed.pk, "Two a day.", by=owner)
    request_approval(feed.pk, by=owner)
    copied = new_preset(owner)
    for kind in QUOTAS:
        set_quota(kind, 0)
    again: dict[str, Any] = {"action": Action.OPEN, "key": draft.key, "by": owner}
    assert store_draft(feed.pk, body={}, **again) == draft
    assert store_draft(feed.pk, body={"sl": "1"}, version=1, **again).version == 2
    assert not change_terms(feed.pk, "Two a day.", by=owner)[1]
    assert not request_approval(feed.pk, by=owner)[1]
    services.change_preset(copied.pk, by=owner, name="two")
    set_quota("presets", 2)
    new_preset(owner, copied_id=copied.pk)  # without loss limits, whose quota is reached


def test_change_of_a_trade_becomes_a_new_trade_only_within_the_quota(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner = make.user()
    feed = make.feed(owner)
    set_quota("drafts", 0)
    draft = store_draft(feed.pk, action=Action.CLOSE, body={}, by=owner)
    again: dict[str, Any] = {"body": {}, "key": draft.key, "version": 1, "by": owner}
    with pytest.raises(ConflictError, match="quota is 0 drafts;"):
        store_draft(feed.pk, action=Action.OPEN, **again)
    set_quota("drafts", 1)
    assert store_draft(feed.pk, action=Action.OPEN, **again).action == Action.OPEN


def test_number_in_force_is_that_of_the_setting() -> None:
    owner = make.user()
    new_preset(owner)
    set_setting("users.quotas", {"presets": 1})
    with pytest.raises(ConflictError, match="quota is 1 presets;"):
        new_preset(owner)
    set_setting("users.quotas", {"presets": 2})
    new_preset(owner)


def test_operators_set_other_numbers() -> None:
    """A kind is written with hyphens or with spaces."""
    found = read({"users": {"quotas": {"presets": 400, "api-keys": 5}}}).users.quotas
    assert found == {"presets": 400, "API keys": 5}
    every = {setting_name(kind): most for kind, most in QUOTAS.items()}
    assert read({"users": {"quotas": every}}).users.quotas == QUOTAS


@pytest.mark.parametrize(
    "quotas", [{"preset": 4}, {"presets": ""}, {"presets": -1}, {"presets": "1e9"}, ["presets"]]
)
def test_other_values_are_no_quotas(quotas: object) -> None:
    with pytest.raises(InvalidDocumentError, match=r"users\.quotas.*presets"):
        read({"users": {"quotas": quotas}})


def test_page_names_every_quota() -> None:
    named = re.findall(r"^\| ([\w ]+) \| ([\d,]+) \|", PAGE, re.MULTILINE)
    assert {kind: int(most.replace(",", "")) for kind, most in named if kind in QUOTAS} == QUOTAS
