"""Tenants add, change and remove the loss limits of their presets and subscriptions."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from common.clocks import market_now
from connections.models import AccountSnapshot, CashFlow, LossLimit, TradingPreset
from connections.services import unsubscribe
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World

pytestmark = pytest.mark.django_db
TYPED = {
    "window": "DATE", "measure": "BALANCE", "basis": "OPENING", "maximum": "4.5",
    "unit": "PERCENT", "action": "PAUSE", "resume": "NEXT_WINDOW",
}  # fmt: skip


def test_owner_limits_a_subscription(world: World, signed_in: SignedIn) -> None:
    client, subscription = signed_in(world.alice), world.subscriptions[0]
    address = f"/accounts/{subscription.connection_id}/loss-limit/"
    page = html_of(client.get(address))
    assert "All accounts with the preset" not in page  # it is the operators'
    answer = client.post(address, {**TYPED, "applies_to": str(subscription.pk)})
    assert answer.status_code == 302
    added = LossLimit.objects.get(measure="BALANCE")
    assert (added.subscription, added.maximum, added.unit) == (subscription, D("4.5"), "PERCENT")


def test_owner_limits_the_own_preset(world: World, signed_in: SignedIn) -> None:
    client, row = signed_in(world.alice), world.mt5
    preset = TradingPreset.objects.create(name="mine", user=world.alice, risk_percent=D(1))
    type(row).objects.filter(pk=row.pk).update(preset=preset)
    address = f"/accounts/{row.pk}/loss-limit/"
    assert client.post(address, {**TYPED, "applies_to": "preset"}).status_code == 302
    limit = LossLimit.objects.get(preset=preset)
    account = html_of(client.get(f"/accounts/{row.pk}/"))
    assert f"/loss-limits/{limit.pk}/edit/" in account
    client.post(f"/loss-limits/{limit.pk}/edit/", {**TYPED, "maximum": "3"})
    limit.refresh_from_db()
    assert limit.maximum == D(3)
    assert client.post(f"/loss-limits/{limit.pk}/remove/").status_code == 302
    assert not LossLimit.objects.filter(pk=limit.pk).exists()


def test_limit_of_an_account_that_was_never_read_is_shown(
    world: World, signed_in: SignedIn
) -> None:
    client, subscription = signed_in(world.alice), world.subscriptions[0]
    account = f"/accounts/{subscription.connection_id}/"
    AccountSnapshot.objects.filter(connection=subscription.connection_id).delete()
    client.post(f"{account}loss-limit/", {**TYPED, "applies_to": str(subscription.pk)})
    limit = LossLimit.objects.get(measure="BALANCE")
    shown = html_of(client.get(account))
    assert "not read yet; at most 4.5" in shown
    assert f"/loss-limits/{limit.pk}/edit/" in shown
    assert "Not reached" not in shown


def test_rules_of_a_limit_are_shown_beside_the_form(world: World, signed_in: SignedIn) -> None:
    client, subscription = signed_in(world.alice), world.subscriptions[0]
    address = f"/accounts/{subscription.connection_id}/loss-limit/"
    typed = {**TYPED, "applies_to": str(subscription.pk), "measure": "LOSING_STREAK"}
    answer = client.post(address, typed)
    assert answer.status_code == 422
    assert "Losing trades in a row have the unit trades" in html_of(answer)
    assert not LossLimit.objects.filter(measure="LOSING_STREAK").exists()


def test_all_faults_of_a_limit_are_shown_at_once(world: World, signed_in: SignedIn) -> None:
    client, subscription = signed_in(world.alice), world.subscriptions[0]
    address = f"/accounts/{subscription.connection_id}/loss-limit/"
    typed = {**TYPED, "applies_to": str(subscription.pk), "maximum": "-5", "window": "LIFETIME"}
    typed |= {"measure": "LOSING_STREAK", "basis": "PEAK"}
    page = html_of(client.post(address, typed))
    for text in (
        "Losing trades in a row have the unit trades", "Only balance and equity have a peak",
        "resume by hand", "must be greater than 0",
    ):  # fmt: skip
        assert text in page, text


def test_operators_limits_and_other_subscriptions_are_not_offered(
    world: World, signed_in: SignedIn
) -> None:
    client = signed_in(world.alice)
    theirs = LossLimit.objects.create(preset=world.preset, maximum=D(50))
    assert client.get(f"/loss-limits/{theirs.pk}/edit/").status_code == 404
    address = f"/accounts/{world.subscriptions[0].connection_id}/loss-limit/"
    typed = {**TYPED, "applies_to": str(world.bobs_subscription.pk)}
    assert client.post(address, typed).status_code == 422


def test_subscription_that_has_ended_is_not_offered(world: World, signed_in: SignedIn) -> None:
    client, subscription = signed_in(world.alice), world.subscriptions[0]
    unsubscribe(subscription.pk, by=None)
    address = f"/accounts/{subscription.connection_id}/loss-limit/"
    assert f'value="{subscription.pk}"' not in html_of(client.get(address))
    answer = client.post(address, {**TYPED, "applies_to": str(subscription.pk)})
    assert answer.status_code == 422
    assert not LossLimit.objects.filter(measure="BALANCE").exists()


def test_owner_adds_a_deposit_with_the_time_of_its_booking(
    world: World, signed_in: SignedIn
) -> None:
    client, row = signed_in(world.alice), world.mt5
    booked = market_now().replace(second=0, microsecond=0) - timedelta(minutes=20)
    typed = {"direction": "1", "amount": "5000", "at": f"{booked:%Y-%m-%dT%H:%M}"}
    assert client.post(f"/accounts/{row.pk}/cash-flow/", typed).status_code == 302
    assert client.post(f"/accounts/{row.pk}/cash-flow/", {**typed, "at": ""}).status_code == 302
    now, before = CashFlow.objects.filter(connection=row).order_by("-at")[:2]
    assert (before.at, before.amount) == (booked, D(5000))
    assert market_now() - now.at < timedelta(minutes=10)
