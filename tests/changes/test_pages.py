"""Each form of the console and the portal, sent at once with another change of the same row.

The lists are compared with the registered admin pages and the portal's addresses: a form that is in
no list fails a test. A page is sent as a browser sends it: with all its fields, as they were shown.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any

import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client, RequestFactory
from django.urls import reverse
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)

from brokers.paper.models import PaperAccount
from buses.incoming.models import BusLane, BusMessage, BusRoute
from buses.models import BusSink, DeadLetter
from common.clocks import market_now
from common.permissions import Role
from config import urls  # noqa: F401  # registers the admin's pages
from connections.models import (
    DataConnection,
    ExecutionConnection,
    LossLimit,
    MaintenanceWindow,
    Subscription,
)
from portal.security_urls import urlpatterns as security_urls
from portal.urls import urlpatterns as portal_urls
from signals.models import Feed
from tests.changes.concurrent_forms import at_once, fields_of
from tests.connections import make
from tests.decisions import calendar_of, provider_of
from tests.html import html_of
from tests.loss_limits import limit_of
from tests.roles import give
from tests.sampling import often
from users.models import User
from users.privileges import roles_of

pytestmark = pytest.mark.usefixtures("inline_commits")
Typed = dict[str, Any]
_number = count(1)


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@dataclass(frozen=True)
class Form:
    """make: the row; typed: what each of those who have opened the page changes there."""

    make: Callable[[], Model]
    typed: tuple[Typed, ...]
    then: dict[str, Any] | None = None  # else all that was typed


def hours() -> CrontabSchedule:
    return CrontabSchedule.objects.create()


def schedule() -> PeriodicTask:
    name = f"job {next(_number)}"
    return PeriodicTask.objects.create(name=name, task="users.notify_key_ends", crontab=hours())


def window() -> MaintenanceWindow:
    return MaintenanceWindow.objects.create(
        note="n", broker_type="mt5", starts_at="01:00", minutes=10
    )


def paper() -> PaperAccount:
    return PaperAccount.objects.create(
        number=f"1-{next(_number)}", owner="alice", password_hash="x", balance=1
    )


def private() -> Feed:
    return make.feed(is_public=False, approved_by_owner=True)


FORMS: dict[str, Form] = {
    "feed": Form(make.feed, ({"name": "one"}, {"description": "two"})),
    "feed, limited and renamed": Form(
        make.feed, ({"max_signal_notional": "5", "max_signal_currency": "usd"}, {"name": "one"}),
        {"name": "one", "max_signal_notional": 5, "max_signal_currency": "USD"},
    ),
    "feed, public and renamed": Form(
        private, ({"is_public": "on"}, {"name": "one"}),
        {"is_public": True, "is_approved": False, "name": "one"},
    ),
    "feed, approval withdrawn and renamed": Form(
        make.feed, ({"is_approved": None}, {"name": "one"}, {"description": "two"}),
        {"is_approved": False, "name": "one", "description": "two"},
    ),
    "signal": Form(lambda: make.signal(make.feed()), ({"note": "one"}, {"strategy_id": "two"})),
    "signal, changed and renamed": Form(
        lambda: make.signal(make.feed()), ({"risk_category": "small"}, {"note": "one"}),
        {"risk_category": "small", "note": "one", "approval": "PENDING"},
    ),
    "preset": Form(make.preset, ({"name": "one"}, {"max_open_positions": "3"})),
    "preset, two limits": Form(make.preset, ({"max_leverage": "2"}, {"max_open_positions": "3"})),
    "preset, limits of a day": Form(
        make.preset,
        ({"max_daily_volume": "2"}, {"trading_sessions": "mon 8:00-9:00"},
         {"market_hours_only": "on"}),
        {"max_daily_volume": 2, "trading_sessions": ["MON 08:00-09:00"], "market_hours_only": True},
    ),
    "decision provider": Form(provider_of, ({"name": "one"}, {"on_failure": "OPEN"})),
    "news calendar": Form(calendar_of, ({"name": "one"}, {})),
    "loss limit": Form(
        lambda: limit_of(make.preset()),
        ({"maximum": "4"}, {"action": "PAUSE_AND_CLOSE"}),
    ),
    "price source": Form(
        lambda: DataConnection.objects.create(name="p"), ({"name": "one"}, {"is_active": None}),
        {"name": "one", "is_active": False},
    ),
    "window": Form(window, ({"note": "one"}, {"minutes": "20"})),
    "window, off": Form(window, ({"is_active": None}, {"minutes": "20"}),
                        {"is_active": False, "minutes": 20}),
    "user": Form(
        make.user, ({"full_name": "one"}, {"email": "two@example.org"})
    ),
    "user, deactivated and renamed": Form(
        lambda: make.user(is_staff=True),
        ({"is_active": None}, {"is_superuser": "on"}, {"full_name": "one"}),
        {"is_active": False, "is_superuser": True, "full_name": "one"},
    ),
    "schedule": Form(schedule, ({"description": "one"}, {"enabled": None}),
                     {"description": "one", "enabled": False}),
    "hours": Form(hours, ({"minute": "1"}, {"hour": "2"})),
    "steps": Form(
        lambda: IntervalSchedule.objects.create(every=5, period="seconds"),
        ({"every": "7"}, {"period": "minutes"}),
    ),
    "moment": Form(
        lambda: ClockedSchedule.objects.create(clocked_time=market_now()),
        ({"clocked_time_0": "2099-01-01"}, {}), {"clocked_time__year": 2099},
    ),
    "sun": Form(
        lambda: SolarSchedule.objects.create(event="sunset", latitude=1, longitude=2),
        ({"event": "sunrise"}, {"latitude": "3"}),
    ),
    "bus": Form(
        lambda: BusSink.objects.create(name="redis"),
        ({"rewind_to_0": "2026-01-01", "rewind_to_1": "00:00:00"}, {}), {"rewind_to__year": 2026},
    ),
    "paper account": Form(paper, ({"owner": "bob"}, {"latency_ms": "7"})),
    "paper account, read-only": Form(
        paper, ({"trading_allowed": None}, {"unreachable": "on"}),
        {"trading_allowed": False, "unreachable": True},
    ),
}  # fmt: skip


def connection() -> ExecutionConnection:
    return make.connection(make.user("alice"))


def subscription() -> Subscription:
    row = connection()
    assert row.user is not None
    return make.subscription(row, make.feed())


def alices_feed() -> Feed:
    return make.feed(owner=make.user("alice"))


def subscription_loss_limit() -> LossLimit:
    return limit_of(None, subscription=subscription())


# Each field of a row that exists is read-only.
FOR_ACTIONS = {BusLane, BusRoute, BusMessage, DeadLetter}


# Forms of our own, by the name of their address.
CONSOLE: dict[str, Form] = {
    "connections_executionconnection_edit": Form(
        connection, ({"name": "one"}, {"is_active": None}), {"name": "one", "is_active": False}
    ),
    "connections_subscription_priority": Form(subscription, ({"priority": "1"}, {})),
}
PORTAL: dict[str, Form] = {
    "account_edit": Form(
        connection, ({"name": "one"}, {"auto_correct": "on"}), {"name": "one", "auto_correct": True}
    ),
    "subscription_edit": Form(
        subscription,
        (
            {"multiplier": "2"},
            {"directions": "BUY"},
            {"priority": "3"},
            {"expires_at": "2099-05-01T10:30:15"},
            {"symbol_map": "EUR/USD = EURUSD.m"},
        ),
        {
            "multiplier": 2,
            "directions": "BUY",
            "priority": 3,
            "expires_at": datetime(2099, 5, 1, 10, 30, 15, tzinfo=UTC),
            "symbol_map": {"EUR/USD": "EURUSD.m"},
        },
    ),
    "loss_limit_edit": Form(
        subscription_loss_limit,
        ({"maximum": "4"}, {"action": "PAUSE_AND_CLOSE"}),
        {"maximum": 4, "action": "PAUSE_AND_CLOSE"},
    ),
    "publishing_settings": Form(
        alices_feed,
        ({"name": "one"}, {"description": "two"}),
        {"name": "one", "description": "two"},
    ),
    "subscription_limits": Form(
        subscription,
        ({"max_open_orders": "2"}, {"max_daily_notional": "3"}, {"allowed_symbols": "eur/*"}),
        {"max_open_orders": 2, "max_daily_notional": 3, "allowed_symbols": ["EUR/*"]},
    ),
}

# Pages that change no settings of a row: they show, create, or take one step by compare-and-set.
SHOWN = {"page", "export", "checks", "reason"}
STEPS = {
    "publish", "cancel", "approve", "reject", "test", "pause", "archive", "own_prices",
    "requests", "refuse",
    "offer_prices", "compare", "retry", "close", "adopt", "relink", "ignore", "set", "release",
    "resume", "token", "revoke", "rotate", "terms", "create", "end", "credentials",
    "reset_second_factor", "trades",
    "route",  # one statement of a policy and its accounts, replaced as a whole
    "ask", "oco", "bracket",  # a request id makes a second click do nothing
}  # fmt: skip
PORTAL_STEPS = {
    "account_sample", "account_sample_close",
    "overview", "live", "pause", "resume", "sign_in", "sign_out", "scan_alarm", "signals", "signal",
    "order_cancel", "order_change", "positions", "close", "close_all", "accounts", "account_add",
    "account", "account_symbols", "account_live", "account_test", "account_pause", "account_resume",
    "account_switch_on", "account_remove",
    "account_compare", "account_own_prices", "account_fallback", "credentials", "difference",
    "difference_adopt",
    "difference_relink", "difference_close", "difference_ignore", "feeds", "subscribe",
    "subscription_route",  # one statement of a policy and its accounts, replaced as a whole
    "subscription_pause", "subscription_resume", "subscription_end", "reason", "inbox",
    "subscription_twin", "subscription_twin_start", "subscription_twin_stop",
    "subscription_twin_csv",
    "inbox_read", "notification_read", "account_cash_flow", "entries_resume",
    "account_loss_limit", "preset_loss_limit", "loss_limit_remove", "end_all", "account_end",
    "feed_end",
    "scoped_action", "feed_alert_log",
    "first_steps", "account_paper", "account_test_state", "presets", "preset_new", "preset_assign",
    "preset_remove", "preset_example", "preset_edit",  # what changed since it was shown is refused
    "history", "history_start", "history_csv", "history_json", "preflight",
    "preflight_csv",
    "telegram", "telegram_token", "telegram_chat", "telegram_chat_end", "telegram_forwarding",
    "telegram_pause", "telegram_resume", "telegram_remove",
    "results", "results_csv", "results_definitions", "results_execution", "results_month",
    "positions_csv", "working_orders_csv",
    "working_orders", "cancel_all", "position", "position_break_even", "position_close_part",
    "position_levels", "position_trailing",  # what changed since it was shown is refused
    "feed_record", "feed_proof", "feed_record_show", "feed_terms", "public_record", "public_proof",
    "alerts", "alert_address_new", "alert_address_replace", "alert_address_revoke",
    "alert_mapping",  # one column, replaced as a whole
    "publishing", "publishing_new", "publishing_feed", "publishing_followers",
    "publishing_approval", "publishing_withdraw", "publishing_archive", "publishing_terms",
    "publishing_signals", "publishing_signal", "publishing_signal_publish",
    "publishing_signal_cancel", "publishing_choose", "publishing_open", "publishing_modify",
    "publishing_close", "publishing_drafts", "publishing_draft", "publishing_draft_publish",
    "publishing_draft_discard",  # a draft has a version
}  # fmt: skip
# One's own: nothing there is changed field by field (tests/portal/test_own_password.py and others).
SECURITY_STEPS = {
    "code", "first", "overview", "confirm", "enrol", "recovery_codes", "turn_off", "password",
    "keys", "key_create", "key_revoke", "channels", "channel_create", "channel_test",
    "channel_resend", "channel_remove", "channel_confirm", "sessions", "session_end",
    "sessions_end", "profile", "email", "email_resend", "data", "data_download", "delete_login",
    "channel_new", "channel",
    "channel_secret", "message_resend", "trail", "trail_csv", "trail_json",
    "push_worker", "push_renew",  # as a whole, by the browser that has it
    "channel_kinds", "channel_rules",  # tests/portal/test_channel_pages.py
}  # fmt: skip


def superuser() -> User:
    user: User = User.objects.create_superuser("olga", "", "correct horse battery")
    return user


def test_every_registered_model_form_is_listed() -> None:
    request: Any = RequestFactory().get("/admin/")
    request.user = superuser()
    changed = {
        model for model, pages in admin.site._registry.items()
        if pages.has_change_permission(request)
    }  # fmt: skip
    assert changed == {type(form.make()) for form in FORMS.values()} | FOR_ACTIONS
    for model in FOR_ACTIONS:
        pages = admin.site._registry[model]
        assert set(pages.get_fields(request, model())) <= {
            *pages.get_readonly_fields(request, model())
        }, model


def test_every_own_page_is_listed() -> None:
    ours = {
        name
        for pages in admin.site._registry.values()
        for _, name, _ in getattr(pages, "custom_urls", ())
    }
    known = {name for name in ours if name.endswith(tuple(f"_{end}" for end in SHOWN | STEPS))}
    assert ours - known == set(CONSOLE)
    assert {address.name for address in portal_urls} == set(PORTAL) | PORTAL_STEPS
    assert {address.name for address in security_urls} == SECURITY_STEPS


def send(user: User, path: str, page: dict[str, list[str]], typed: Typed) -> Any:
    """Send a page with what was typed into it; None: a box that was cleared."""
    data = {**page, **{name: value for name, value in typed.items() if value is not None}}
    for name in (name for name, value in typed.items() if value is None):
        data.pop(name, None)
    client = Client(raise_request_exception=False)
    client.force_login(user)
    answer = client.post(path, data)
    return answer.status_code if answer.status_code == 302 else html_of(answer)[-3000:]


def walk(form: Form, row: Model, path: str, user: User) -> None:
    opened = Client()
    opened.force_login(user)
    shown = opened.get(path)
    assert shown.status_code == 200
    page = fields_of(html_of(shown))
    for typed in form.typed:
        assert {name for name, value in typed.items() if value} <= {*page, *typed}
        assert all(name in page for name, value in typed.items() if value is None), page
    acts = [partial(send, user, path, page, typed) for typed in form.typed]
    answers = at_once(row, *acts)
    assert answers == [302] * len(answers)
    then = form.then or {name: value for typed in form.typed for name, value in typed.items()}
    found = type(row)._default_manager.filter(pk=row.pk)
    missing = {name: value for name, value in then.items() if not found.filter(**{name: value})}
    assert not missing, found.values().get()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", often(FORMS, every=4))
def test_admin_form_change_is_not_lost(name: str) -> None:
    form, user = FORMS[name], superuser()
    row = form.make()
    opts = row._meta
    path = reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[row.pk])
    walk(form, row, path, user)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", CONSOLE)
def test_console_form_change_is_not_lost(name: str) -> None:
    form, user = CONSOLE[name], superuser()
    row = form.make()
    walk(form, row, reverse(f"admin:{name}", args=[row.pk]), user)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", PORTAL)
def test_portal_form_change_is_not_lost(name: str) -> None:
    form = PORTAL[name]
    row = form.make()
    user = User.objects.get(username="alice")
    walk(form, row, reverse(f"portal:{name}", args=[getattr(row, "slug", row.pk)]), user)


def test_stale_page_reverts_nothing() -> None:
    """Its fields still say what the feed was: only what was typed there counts."""
    user, feed = superuser(), make.feed()
    path = reverse("admin:signals_feed_change", args=[feed.pk])
    client = Client()
    client.force_login(user)
    old = fields_of(html_of(client.get(path)))
    assert send(user, path, old, {"is_approved": None, "description": "now"}) == 302
    assert send(user, path, old, {"name": "later"}) == 302
    feed.refresh_from_db()
    assert (feed.is_approved, feed.description, feed.name) == (False, "now", "later")


def test_stale_page_does_not_restore_revoked_roles() -> None:
    user, of = superuser(), make.user("other")
    give(of, Role.SUPPORT, Role.OPERATOR)
    path = reverse("admin:users_user_change", args=[of.pk])
    client = Client()
    client.force_login(user)
    old = fields_of(html_of(client.get(path)))
    assert send(user, path, old, {"roles": ["support"]}) == 302
    assert send(user, path, old, {"roles": ["operator", "risk officer", "support"]}) == 302
    assert roles_of(of) == {Role.SUPPORT, Role.RISK_OFFICER}


@pytest.mark.django_db(transaction=True)
def test_console_pause_sets_requested_state_despite_race() -> None:
    user, row = superuser(), subscription()
    path = reverse("admin:connections_subscription_pause", args=[row.pk])
    client = Client()
    client.force_login(user)
    asked = client.get(path, follow=True).request
    confirm = f"{asked['PATH_INFO']}?{asked['QUERY_STRING']}"
    acts = [partial(send, user, confirm, {}, {})] * 2
    assert at_once(row, *acts) == [302, 302]
    row.refresh_from_db()
    assert row.is_paused


@pytest.mark.django_db(transaction=True)
def test_new_password_changes_no_other_user_column() -> None:
    user, other = superuser(), make.user("other", is_staff=True)
    path = reverse("admin:auth_user_password_change", args=[other.pk])
    typed = {"password1": "a long new passphrase", "password2": "a long new passphrase",
             "usable_password": "true"}  # fmt: skip
    change = reverse("admin:users_user_change", args=[other.pk])
    client = Client()
    client.force_login(user)
    page = fields_of(html_of(client.get(change)))
    acts = [
        partial(send, user, path, {}, typed),
        partial(send, user, change, page, {"is_active": None}),
    ]
    assert at_once(other, *acts) == [302, 302]
    other.refresh_from_db()
    assert not other.is_active
    assert other.check_password("a long new passphrase")


def test_no_page_contains_a_password() -> None:
    user, other = superuser(), User.objects.create_user("other", password="a passphrase")
    client = Client()
    client.force_login(user)
    html = html_of(client.get(reverse("admin:users_user_change", args=[other.pk])))
    assert other.password not in html
    assert other.password.split("$")[-1] not in html
