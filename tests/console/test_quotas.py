"""Operators' forms refuse what exceeds the quota of the owner whom they choose."""

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client, RequestFactory
from django.urls import reverse

from tests.connections import make
from tests.html import html_of
from tests.operational import quota_of, set_quota, set_setting

Rows = dict[str, Any]
LISTS: dict[str, tuple[str, Callable[[Rows], Rows]]] = {
    "connections.cashflow": (
        "cash flows entered within a day",
        lambda rows: {
            "connection": rows["connections"][0].pk, "amount": "5", "at_0": "2026-01-02",
            "at_1": "10:00",
        },
    ),
    "connections.dataconnection": (
        "price sources", lambda rows: {"name": "n", "user": rows["provider"].pk}
    ),
    "connections.decisionprovider": ("decision providers", lambda rows: {"name": "n"}),
    "connections.losslimit": (
        "loss limits",
        lambda rows: {"preset": make.preset(rows["provider"]).pk, "maximum": "5"},
    ),
    "connections.newscalendar": ("news calendars", lambda rows: {"name": "n"}),
    "connections.tradingpreset": ("presets", lambda rows: {"name": "n", "risk_percent": "1"}),
    "signals.feed": (
        "feeds", lambda rows: {"name": "n", "slug": "n", "owner": rows["provider"].pk}
    ),
}  # fmt: skip
OTHERS = {
    "buses.busroute",
    "connections.executionconnection",  # its page is below
    "connections.maintenancewindow",
    "django_celery_beat.clockedschedule",
    "django_celery_beat.crontabschedule",
    "django_celery_beat.intervalschedule",
    "django_celery_beat.periodictask",
    "django_celery_beat.solarschedule",
    "signals.signal",
    "users.user",
}
"""Forms that add signals, or what no tenant owns, or lead to another page."""
CONNECTION = {
    "owner": "provider-1", "name": "Mine", "account": "U1", "settings.host": "gw.example.com",
    "settings.port": "4001",
}  # fmt: skip
PAGES: dict[str, tuple[str, Rows]] = {
    "/admin/connections/executionconnection/add/?type=ibkr": ("accounts", CONNECTION),
    "/admin/signals/feed/{feed}/token/": ("alert tokens", {"name": "charts"}),
    "/admin/users/apikey/create/": (
        "API keys", {"user": "provider-1", "name": "bot", "scopes": ["read"], "life": "30"}
    ),
    "/admin/users/invitation/create/": ("invitations", {"note": "Zoe", "days": "3"}),
}  # fmt: skip


@pytest.fixture
def operator(small: Rows, client: Client) -> Client:
    client.force_login(small["operator"])
    return client


def test_each_form_that_adds_is_in_one_table(small: Rows, operator: Client) -> None:
    operator.get(reverse("admin:index"))
    request = RequestFactory().get("/")
    request.user = small["operator"]
    adding = {
        model._meta.label_lower
        for model, page in admin.site._registry.items()
        if page.has_add_permission(request)
    }
    assert adding == {*LISTS, *OTHERS}


@pytest.mark.parametrize("name", LISTS)
def test_new_row_beyond_the_quota_is_refused(
    small: Rows, operator: Client, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    kind, typed = LISTS[name]
    model = apps.get_model(name)
    add = reverse(f"admin:{name.replace('.', '_')}_add")
    request = RequestFactory().get(add)
    request.user = small["operator"]
    form = admin.site.get_model_admin(model).get_form(request)()
    initial = {key: form.get_initial_for_field(field, key) for key, field in form.fields.items()}
    sent = {
        key: value for key, value in initial.items() if value is not None and value is not False
    }
    sent |= typed(small) | {"tokens-TOTAL_FORMS": "0", "tokens-INITIAL_FORMS": "0"}
    count = model.objects.count()
    with quota_of(kind, 0):
        shown = html_of(operator.post(add, sent, follow=True))
    assert f"Nothing was changed. The quota is 0 {kind};" in shown
    assert model.objects.count() == count
    operator.post(add, sent)
    assert model.objects.count() == count + 1


@pytest.mark.parametrize("page", PAGES)
def test_page_shows_the_quota(
    small: Rows, operator: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    set_setting("users.sign_up", "invitation")
    kind, typed = PAGES[page]
    set_quota(kind, 0)
    shown = html_of(operator.post(page.format(feed=small["feed"].pk), typed))
    assert f"The quota is 0 {kind};" in shown
