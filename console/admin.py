"""The console's admin: adds our pages to the lists of the apps, the dashboard and the schedules.

Each app's own `admin.py` has its lists and forms. Pages that combine several apps are added here,
in the layer that may import them all. `console` is the last app, so this module is imported last.
"""

from typing import Any, ClassVar
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_celery_beat.admin import CrontabScheduleAdmin as DjangoCrontabAdmin
from django_celery_beat.admin import PeriodicTaskAdmin as DjangoPeriodicTaskAdmin
from django_celery_beat.admin import PeriodicTaskForm, TaskSelectWidget
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from common.permissions import Right
from common.web.admin import ConsoleAdmin
from common.web.badges import badge
from connections.admin.accounts import ExecutionConnectionAdmin
from connections.admin.limits import TradingPauseAdmin
from connections.admin.operations import EpochAdmin, KillSwitchAdmin
from connections.admin.subscriptions import SubscriptionAdmin
from connections.models import (
    Epoch,
    ExecutionConnection,
    KillSwitch,
    Subscription,
    TradingPause,
)
from console import archive_admin  # noqa: F401  # registers its list
from console.execution_admin import DriftItemAdmin, OrderAdmin, ScopedActionAdmin
from console.guarding_schedules import require_guards_stay, require_pace, require_still_guards
from console.pages import (
    connection_actions,
    connection_pages,
    dashboard_pages,
    drift_pages,
    entry_form_pages,
    epoch_pages,
    feed_pages,
    feed_request_pages,
    kill_switch_pages,
    order_pages,
    position_pages,
    scoped_action_pages,
    signal_pages,
    subscription_pages,
    token_pages,
    trading_pause_pages,
    user_pages,
)
from console.pages.own_password import password_change
from console.pages.page_helpers import View, can, require_read_permission
from execution.models import DriftItem, Order, ScopedAction
from positions.admin import ExecutionPositionAdmin
from positions.models import ExecutionPosition
from signals.admin import FeedAdmin, FeedTokenAdmin, SignalAdmin
from signals.models import Feed, FeedToken, Signal
from users.admin import ApiKeyAdmin, InvitationAdmin, UserAdmin
from users.models import ApiKey, Invitation, User
from users.sign_in.second_factor import factor_of

site: Any = admin.site
site.index_template = "console/dashboard.html"
site.extra_urls = dashboard_pages.urls
site.admin_view = require_read_permission(site.admin_view)
site.password_change = password_change
REPLACED = (
    ApiKey, ClockedSchedule, CrontabSchedule, DriftItem, Epoch, ExecutionConnection,
    ExecutionPosition, Feed, FeedToken, IntervalSchedule, Invitation, KillSwitch, Order,
    PeriodicTask, Signal, ScopedAction, SolarSchedule, Subscription, TradingPause, User,
)  # fmt: skip
for replaced in REPLACED:
    site.unregister(replaced)


class Paged:
    """Redirects from a row's admin form to its page, unless the user may fill in the form."""

    custom_urls: ClassVar[tuple[tuple[str, str, View], ...]]

    def change_view(self, request: HttpRequest, object_id: str, *rest: Any, **more: Any) -> Any:
        if request.method == "GET" and not self.has_form(request, object_id):
            return self._to_page(object_id)
        return super().change_view(request, object_id, *rest, **more)  # type: ignore[misc]

    def has_form(self, request: HttpRequest, object_id: str) -> bool:
        return False

    def _to_page(self, object_id: str) -> HttpResponse:
        name = self.custom_urls[0][1]
        return HttpResponseRedirect(reverse(f"admin:{name}", args=[_key(object_id)]))


def _key(object_id: str) -> int | UUID:
    return int(object_id) if object_id.isdigit() else UUID(object_id.replace("_2D", "-"))


class Buttons:
    """Adds buttons above a list. button_names: (label, name of the address, required right)."""

    list_before_template = "console/parts/list_button.html"
    button_names: ClassVar[tuple[tuple[str, str, Right], ...]] = ()

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        buttons = [
            (label, reverse(f"admin:{name}"))
            for label, name, right in self.button_names
            if can(request, right)
        ]
        context = {**(extra_context or {}), "list_buttons": buttons}
        return super().changelist_view(request, context)  # type: ignore[misc]


@admin.register(Signal)
class SignalPages(Paged, Buttons, SignalAdmin):
    custom_urls = (*signal_pages.URLS, *entry_form_pages.URLS)
    button_names = (
        ("OCO pair…", "signals_signal_oco", Right.PUBLISH),
        ("Bracket…", "signals_signal_bracket", Right.PUBLISH),
    )

    def has_form(self, request: HttpRequest, object_id: str) -> bool:
        signal = Signal.objects.filter(pk=object_id).first()
        return signal is not None and self.has_change_permission(request, signal)

    def response_post_save_add(self, request: HttpRequest, obj: Signal) -> HttpResponse:
        return self._to_page(str(obj.pk))

    def response_post_save_change(self, request: HttpRequest, obj: Signal) -> HttpResponse:
        return self._to_page(str(obj.pk))


@admin.register(ExecutionConnection)
class ConnectionPages(Paged, ExecutionConnectionAdmin):
    custom_urls = (*connection_pages.URLS, *drift_pages.CONNECTION_URLS)

    def add_view(self, request: HttpRequest, *rest: Any, **more: Any) -> HttpResponse:
        return connection_actions.add(request)


@admin.register(Order)
class OrderPages(Paged, OrderAdmin):
    custom_urls = order_pages.URLS


@admin.register(ExecutionPosition)
class PositionPages(Paged, ExecutionPositionAdmin):
    custom_urls = position_pages.URLS


class LastColumn:
    """Adds a column of buttons to a list, for users who may use them."""

    last_column: ClassVar[str]
    last_column_right: ClassVar[Right]

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        known: tuple[Any, ...] = super().get_list_display(request)  # type: ignore[misc]
        return (*known, self.last_column) if can(request, self.last_column_right) else known


@admin.register(DriftItem)
class DriftPages(Paged, DriftItemAdmin):
    custom_urls = drift_pages.URLS


@admin.register(Subscription)
class SubscriptionPages(LastColumn, SubscriptionAdmin):
    custom_urls = subscription_pages.URLS
    last_column, last_column_right = "decide", Right.CONNECTIONS

    @admin.display(description="action")
    def decide(self, row: Subscription) -> Any:
        if row.archived_at:
            return ""
        word = "Resume…" if row.is_paused else "Pause…"
        flip = _button("connections_subscription_pause", row.pk, word)
        rank = _button("connections_subscription_priority", row.pk, "Priority…")
        route = _button("connections_subscription_route", row.pk, "Route…")
        return flip + rank + route + _button("connections_subscription_end", row.pk, "End…")


@admin.register(KillSwitch)
class KillSwitchPages(LastColumn, Buttons, KillSwitchAdmin):
    custom_urls = kill_switch_pages.URLS
    button_names = (
        ("Set the kill switch…", "connections_killswitch_set", Right.HALT),
        ("Cancel or close…", "execution_scopedaction_ask", Right.TRADE),
    )
    last_column, last_column_right = "release", Right.RELEASE

    @admin.display(description="action")
    def release(self, switch: KillSwitch) -> Any:
        epoch = Epoch.objects.filter(kill_switch=switch, released_at=None).first()
        if epoch is not None:
            return _button("connections_epoch_page", epoch.pk, "See open issues…")
        return "" if switch.released_at else _button("connections_killswitch_release", switch.pk,
                                                     "Release…")  # fmt: skip


@admin.register(ScopedAction)
class ScopedActionPages(Paged, Buttons, ScopedActionAdmin):
    custom_urls = scoped_action_pages.URLS
    button_names = (("Cancel or close…", "execution_scopedaction_ask", Right.TRADE),)


@admin.register(TradingPause)
class TradingPausePages(LastColumn, TradingPauseAdmin):
    custom_urls = trading_pause_pages.URLS
    last_column, last_column_right = "resume", Right.LIMITS

    @admin.display(description="action")
    def resume(self, pause: TradingPause) -> Any:
        if pause.ended_at:
            return ""
        return _button("connections_tradingpause_resume", pause.pk, "Resume…")


@admin.register(Epoch)
class EpochPages(Paged, EpochAdmin):
    custom_urls = epoch_pages.URLS


@admin.register(Feed)
class FeedPages(LastColumn, FeedAdmin):
    custom_urls = (*token_pages.TOKEN_URLS, *feed_pages.URLS, *feed_request_pages.URLS)
    last_column, last_column_right = "actions_of_feed", Right.FEEDS

    @admin.display(description="action")
    def actions_of_feed(self, feed: Feed) -> Any:
        """Return the buttons of a feed: end what it has live, close its trades, create a token."""
        query = urlencode({"scope": "FEED", "name": feed.slug})
        address = f"{reverse('admin:execution_scopedaction_ask')}?{query}"
        end = _link(address, "Cancel or close…")
        if feed.archived_at:
            return end
        close = _button("signals_feed_close_trades", feed.pk, "Close trades…")
        token = _button("signals_feed_token", feed.pk, "New token…")
        return format_html("{} {} {}", end, close, token)


@admin.register(FeedToken)
class FeedTokenPages(LastColumn, FeedTokenAdmin):
    custom_urls = token_pages.REVOKE_URLS
    last_column, last_column_right = "revoke", Right.FEEDS

    @admin.display(description="action")
    def revoke(self, token: FeedToken) -> Any:
        if token.revoked_at:
            return ""
        replace = _button("signals_feedtoken_rotate", token.pk, "Replace…")
        return format_html(
            "{} {}", replace, _button("signals_feedtoken_revoke", token.pk, "Revoke…")
        )


@admin.register(ApiKey)
class ApiKeyPages(LastColumn, Buttons, ApiKeyAdmin):
    custom_urls = token_pages.KEY_URLS
    button_names = (("New API key…", "users_apikey_create", Right.API_KEYS),)
    last_column, last_column_right = "revoke", Right.API_KEYS

    @admin.display(description="action")
    def revoke(self, key: ApiKey) -> Any:
        return "" if key.revoked_at else _button("users_apikey_revoke", key.pk, "Revoke…")


@admin.register(Invitation)
class InvitationPages(LastColumn, Buttons, InvitationAdmin):
    custom_urls = user_pages.INVITATION_URLS
    button_names = (("Invite a person…", "users_invitation_create", Right.USERS),)
    last_column, last_column_right = "revoke", Right.USERS

    @admin.display(description="")
    def revoke(self, row: Invitation) -> Any:
        if row.used_at or row.revoked_at:
            return ""
        return _button("users_invitation_revoke", row.pk, "Revoke…")


@admin.register(User)
class UserPages(LastColumn, UserAdmin):  # type: ignore[misc]  # Django's own two do not fit
    custom_urls = user_pages.URLS
    change_form_before_template = "console/parts/user_second_factor.html"
    list_select_related = ("second_factor",)
    last_column, last_column_right = "second_factor_state", Right.READ

    @admin.display(description="Second factor")
    def second_factor_state(self, user: User) -> SafeString:
        return badge("ok", "On") if factor_of(user) else badge("cancelled", "Off")


def _button(name: str, pk: int, text: str) -> SafeString:
    return _link(reverse(f"admin:{name}", args=[pk]), text)


def _link(address: str, text: str) -> SafeString:
    return format_html('<span class="fc"><a class="fc-btn" href="{}">{}</a></span>', address, text)


class _TaskWidget(UnfoldAdminSelectWidget, TaskSelectWidget):  # type: ignore[misc]
    """A selection of the registered tasks, in unfold's style."""


class ScheduleForm(PeriodicTaskForm):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "task" in self.fields:
            self.fields["task"].widget = UnfoldAdminTextInputWidget()
            self.fields["regtask"].widget = _TaskWidget()


@admin.register(PeriodicTask)
class ScheduleAdmin(DjangoPeriodicTaskAdmin, ConsoleAdmin):  # type: ignore[misc]
    """The jobs that beat starts, and how often."""

    change_right = Right.SCHEDULES
    form = ScheduleForm
    change_form_template = "admin/change_form.html"  # its own has an inline script
    date_hierarchy = None
    list_display = ("name", "enabled", "scheduler", "queue", "last_run_at", "total_run_count")
    list_filter = ("enabled", "one_off")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write a schedule; one that guards money is only slowed within its limit."""
        if change:
            require_still_guards(obj, PeriodicTask.objects.get(pk=obj.pk))
        super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete a schedule that does not guard money."""
        require_guards_stay([obj], "deleted")
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """Delete schedules that do not guard money."""
        require_guards_stay(queryset, "deleted")
        super().delete_queryset(request, queryset)

    @admin.action(description="Disable selected tasks")
    def disable_tasks(self, request: HttpRequest, queryset: Any) -> None:
        """Disable schedules that do not guard money."""
        require_guards_stay(queryset, "disabled")
        super().disable_tasks(request, queryset)

    @admin.action(description="Toggle activity of selected tasks")
    def toggle_tasks(self, request: HttpRequest, queryset: Any) -> None:
        """Enable and disable schedules; those that guard money are only enabled."""
        require_guards_stay(queryset.filter(enabled=True), "disabled")
        super().toggle_tasks(request, queryset)


@admin.register(CrontabSchedule)
class CrontabAdmin(DjangoCrontabAdmin, ConsoleAdmin):  # type: ignore[misc]
    """Schedules by time of day."""

    change_right = Right.SCHEDULES


@admin.register(IntervalSchedule, ClockedSchedule, SolarSchedule)
class OtherScheduleAdmin(ConsoleAdmin):
    """Schedules by interval, moment or the sun. With an interval go the jobs that run by it."""

    change_right = Right.SCHEDULES

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write a schedule by which what guards money still runs often enough."""
        if change and isinstance(obj, IntervalSchedule):
            require_pace(obj)
        super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete a schedule by which nothing runs that guards money."""
        require_guards_stay(obj.periodictask_set.all(), "deleted")
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """Delete schedules by which nothing runs that guards money."""
        for schedule in queryset:
            require_guards_stay(schedule.periodictask_set.all(), "deleted")
        super().delete_queryset(request, queryset)
