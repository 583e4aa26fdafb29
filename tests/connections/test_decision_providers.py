"""Providers: all faults at once, the secret, their owners, and the rotation of keys."""

from decimal import Decimal as D
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from rest_framework.test import APIClient

from common.errors import ConflictError, InvalidInputError, NotAllowedError
from common.sealing import new_private_key, public_key_of
from connections import services
from connections.credentials.key_rotation import count_rows_to_reseal, reseal_all
from connections.credentials.provider_secrets import open_secret
from connections.models import DecisionProvider, TradingPreset
from tests.connections import make
from tests.decisions import SECRET, calendar_of, provider_of, service_at
from tests.operational import set_setting
from tests.portal.factor_steps import form_on
from users.keys.setups import set_up_with
from users.models import User
from users.services import create_api_key, revoke_api_key, user_for_key
from users.sign_in.session_factor import SecondFactorNeededError

pytestmark = pytest.mark.django_db
URL = "https://model.example.org/decide"


@pytest.fixture(autouse=True)
def key(settings: Settings) -> bytes:
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    set_setting("networks.outbound_networks", ())
    return private


@pytest.fixture
def alice() -> User:
    return make.user("alice")


def added(**fields: Any) -> DecisionProvider:
    secret = fields.pop("secret", "")
    provider = DecisionProvider(**{"name": "p", **fields})
    return services.add_decision_provider(provider, secret=secret, by=None)


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(InvalidInputError) as error:
        added(
            kind="HTTP", url="ftp://x", timeout_seconds=D(6), session_zone="Mars",
            sessions=["Mon 8-9"], min_atr_percent=D(2), max_atr_percent=D(1),
        )  # fmt: skip
    faults = [error.value, *error.value.others]
    stated = {fault.field: fault.detail for fault in faults}
    assert set(stated) == {
        "session_zone", "sessions", "url", "timeout_seconds", "min_atr_percent", "secret",
    }  # fmt: skip
    assert "0.1 to 5 seconds" in stated["timeout_seconds"]
    assert "not above its maximum" in stated["min_atr_percent"]
    assert "needs its URL and its secret" in stated["secret"]


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("timeout_seconds", D("0.1"), D("0.09")), ("timeout_seconds", D(5), D("5.01")),
        ("max_age_seconds", 3, 2), ("max_age_seconds", 60, 61), ("candle_minutes", 240, 10),
        ("broken_rule_factor", D("0.99"), D(1)), ("broken_rule_factor", D(0), D("-0.1")),
        ("max_spread", D(0), D(-1)), ("max_spread_percentile", D(100), D("100.1")),
        ("news_minutes_before", 1440, 1441), ("news_minutes_after", 0, -1),
    ],
)  # fmt: skip
def test_values_beyond_their_range_are_refused(field: str, good: Any, bad: Any) -> None:
    assert getattr(added(**{field: good}), field) == good
    with pytest.raises(InvalidInputError):
        added(**{field: bad})


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        (URL, ""), ("https://1.1.1.1/x?token=1", ""), ("http://model.example.org/", "https"),
        ("https://user:word@model.example.org/", "user name"), ("https://10.0.0.7/", "network"),
        ("https://[::1]/", "network"), ("https://[64:ff9b::a00:7]/", "network"),
        ("file:///etc/passwd", "https://"), ("https://x y/", "spaces"), ("https://", "https://"),
        ("https://model.example.org:port/", "no valid URL"), ("https://a/#b", "#"),
    ],
)  # fmt: skip
def test_only_https_to_public_hosts_is_accepted(url: str, fault: str) -> None:
    if not fault:
        assert added(kind="HTTP", url=url, secret=SECRET).url == url
        return
    with pytest.raises(InvalidInputError, match=fault):
        added(kind="HTTP", url=url, secret=SECRET)


def test_secret_belongs_to_its_row(alice: User) -> None:
    one = added(kind="HTTP", url=URL, secret=SECRET)
    other = added(kind="HTTP", url=URL, secret="another secret of enough")
    assert open_secret(one).decode() == SECRET
    other.secret_sealed = one.secret_sealed
    with pytest.raises(Exception, match="does not open"):
        open_secret(other)
    with pytest.raises(InvalidInputError, match="16 to 200"):
        added(kind="HTTP", url=URL, secret="short")


def test_rotation_reseals_secrets(settings: Settings, key: bytes) -> None:
    provider = service_at(URL)
    newer = new_private_key()
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (newer, key)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(newer)
    assert count_rows_to_reseal() == 1
    done = list(reseal_all())[-1]
    assert (done.resealed, done.unopened, count_rows_to_reseal()) == (1, [], 0)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (newer,)
    provider.refresh_from_db()
    assert open_secret(provider).decode() == SECRET


def test_owner_and_operators_change_a_provider(alice: User) -> None:
    mine, shared = provider_of(alice), provider_of()
    changed = services.change_decision_provider(mine.pk, by=alice, sessions=[" mon  8:00-09:00"])
    assert changed.sessions == ["MON 08:00-09:00"]
    with pytest.raises(NotAllowedError):
        services.change_decision_provider(shared.pk, by=alice, name="x")
    with pytest.raises(NotAllowedError):
        services.delete_decision_provider(shared.pk, by=alice)


def test_provider_and_calendar_in_use_are_not_deleted(alice: User) -> None:
    calendar = calendar_of(alice)
    provider = provider_of(alice, calendar=calendar)
    make.preset(alice, decision_provider=provider)
    with pytest.raises(ConflictError, match="Presets use it"):
        services.delete_decision_provider(provider.pk, by=alice)
    with pytest.raises(ConflictError, match="Decision providers use it"):
        services.delete_news_calendar(calendar.pk, by=alice)
    TradingPreset.objects.update(decision_provider=None)
    services.delete_decision_provider(provider.pk, by=alice)
    services.delete_news_calendar(calendar.pk, by=alice)


def test_calendar_of_another_user_is_refused(alice: User) -> None:
    with pytest.raises(InvalidInputError, match="another user"):
        added(user=alice, calendar=calendar_of(make.user("bob")))


# ---- API ----
@pytest.fixture
def client(alice: User) -> APIClient:
    _, secret = create_api_key(alice, "test")
    return APIClient(headers={"authorization": f"Bearer {secret}"})


def test_api_adds_a_provider_and_never_shows_its_secret(client: APIClient) -> None:
    body = {"name": "m", "kind": "HTTP", "url": URL, "secret": SECRET}
    answer = client.post("/api/v1/decision-providers/", body, format="json")
    assert answer.status_code == 201, answer.json()
    assert (answer.json()["has_secret"], answer.json()["is_shared"]) == (True, False)
    assert SECRET not in answer.content.decode()
    address = f"/api/v1/decision-providers/{answer.json()['id']}/"
    replaced = client.patch(address, {"secret": SECRET[::-1]}, format="json")
    assert replaced.status_code == 200, replaced.json()
    assert open_secret(DecisionProvider.objects.get()).decode() == SECRET[::-1]


def test_api_refuses_a_preset_with_anothers_provider(client: APIClient, alice: User) -> None:
    foreign, shared = provider_of(make.user("bob")), provider_of()
    preset = make.preset(alice)
    address = f"/api/v1/presets/{preset.pk}/"
    for provider, status in ((foreign, 400), (shared, 200), (provider_of(alice), 200)):
        answer = client.patch(address, {"decision_provider": provider.pk}, format="json")
        assert answer.status_code == status, answer.json()
    assert client.patch(address, {"decision_provider": None}, format="json").status_code == 200


def test_operators_preset_takes_no_tenants_provider(alice: User) -> None:
    operator = make.user("olga", is_staff=True, is_superuser=True)
    _, secret = create_api_key(operator, "test")
    client = APIClient(headers={"authorization": f"Bearer {secret}"})
    mine, shared = provider_of(alice), provider_of()
    body = {"name": "p", "risk_percent": "1"}
    for provider, status in ((mine, 400), (shared, 201)):
        sent = body | {"decision_provider": provider.pk}
        answer = client.post("/api/v1/presets/", sent, format="json")
        assert answer.status_code == status, answer.json()
    preset = make.preset(alice)
    answer = client.patch(
        f"/api/v1/presets/{preset.pk}/", {"decision_provider": mine.pk}, format="json"
    )
    assert answer.status_code == 200, answer.json()


def test_api_imports_a_calendar_or_names_all_faults(client: APIClient) -> None:
    made = client.post("/api/v1/news-calendars/", {"name": "n"}, format="json").json()
    address = f"/api/v1/news-calendars/{made['id']}/events/"
    bad = "time,currency,impact,title\nx,USD,HIGH,A\ny,USD,HIGH,B\n"
    refused = client.post(address, {"csv": bad}, format="json")
    assert refused.status_code == 400
    assert "Line 2" in refused.content.decode()
    assert "Line 3" in refused.content.decode()
    good = "time,currency,impact,title\n2026-01-02T13:30:00Z,USD,HIGH,A\n"
    assert client.post(address, {"csv": good}, format="json").json()["event_count"] == 1


# ---- providers whom an API key named ----
@pytest.fixture
def robot(alice: User) -> User:
    """Alice, as a request with an API key knows her."""
    _, secret = create_api_key(alice, "robot")
    caller = user_for_key(secret)
    assert caller is not None
    return caller


def ended(provider: DecisionProvider) -> bool:
    return DecisionProvider.objects.get(pk=provider.pk).ended_with_key


def test_provider_that_a_key_pointed_elsewhere_ends_with_the_key(alice: User, robot: User) -> None:
    mine = service_at(URL, alice)
    new = DecisionProvider(name="p", user=alice, kind="HTTP", url=URL)
    services.add_decision_provider(new, secret=SECRET, by=robot)
    untouched = service_at(URL, alice)
    services.change_decision_provider(mine.pk, by=robot, url=f"{URL}/evil")
    services.change_decision_provider(untouched.pk, by=robot, name="another name")
    assert not any(map(ended, (mine, new, untouched)))
    assert robot.key_id is not None
    listed = [str(one) for one in set_up_with(robot.key_id)]
    assert listed == ["decision provider “My model”", "decision provider “p”"]
    revoke_api_key(robot.key_id, by=alice)
    assert [*map(ended, (mine, new, untouched))] == [True, True, False]
    services.change_decision_provider(mine.pk, by=alice, name="mine")
    assert ended(mine), "to rename it does not name who is asked"
    services.change_decision_provider(mine.pk, by=alice, url=f"{URL}/evil")
    assert not ended(mine), "named again by its owner"


def test_owner_learns_of_an_operators_ended_provider(client: APIClient) -> None:
    """The key is not the owner's to read."""
    operator = make.user("olga", is_staff=True, is_superuser=True)
    _, secret = create_api_key(operator, "shared")
    staff = APIClient(headers={"authorization": f"Bearer {secret}"})
    body = {"name": "m", "kind": "HTTP", "url": URL, "secret": SECRET}
    added_one = staff.post("/api/v1/decision-providers/", body, format="json").json()
    address = f"/api/v1/decision-providers/{added_one['id']}/"
    assert client.get(address).json()["ended_with_key"] is False
    caller = user_for_key(secret)
    assert caller is not None
    assert caller.key_id is not None
    revoke_api_key(caller.key_id, by=operator)
    shown = client.get(address).json()
    assert (shown["ended_with_key"], "made_with" in shown) == (True, False)


def test_session_keeps_whom_a_key_named_with_a_fresh_factor_only(alice: User, robot: User) -> None:
    provider = service_at(URL, alice)
    services.change_decision_provider(provider.pk, by=robot, url=f"{URL}/evil")
    alice.has_stale_factor = True
    services.change_decision_provider(provider.pk, by=alice, name="mine")
    with pytest.raises(SecondFactorNeededError):
        services.change_decision_provider(provider.pk, by=alice, url=f"{URL}/evil")


def test_console_asks_whether_to_keep_whom_an_ended_key_named(robot: User, alice: User) -> None:
    provider = service_at(URL, alice)
    operator = make.user("olga", is_staff=True, is_superuser=True)
    console = Client()
    console.force_login(operator)
    page = reverse("admin:connections_decisionprovider_change", args=[provider.pk])
    services.change_decision_provider(provider.pk, by=robot, url=f"{URL}/evil")
    assert "Keep who is asked" not in console.get(page).content.decode()
    assert robot.key_id is not None
    revoke_api_key(robot.key_id, by=alice)
    assert "Keep who is asked" in console.get(page).content.decode()
    for more, is_ended in (({"name": "renamed"}, True), ({"keep": "on"}, False)):
        answer = console.post(page, form_on(console, page) | more)
        assert answer.status_code == 302, answer.content.decode()
        assert ended(provider) is is_ended
    assert DecisionProvider.objects.get().url == f"{URL}/evil"
