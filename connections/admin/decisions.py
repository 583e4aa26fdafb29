"""Decision providers, and the news calendars of their rules."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextareaWidget

from common.permissions import Right
from common.web.admin import ConsoleAdmin
from connections import services
from connections.decisions.calendars import MAX_BYTES as MAX_CALENDAR_BYTES
from connections.decisions.calendars import read_calendar
from connections.models import DecisionProvider, NewsCalendar

KEEP = ("Its API key has ended", {"fields": ("keep",)})


class DecisionProviderForm(forms.ModelForm):  # type: ignore[type-arg]
    """A provider with its secret, which is only entered, never shown."""

    secret = forms.CharField(
        required=False, min_length=16, max_length=200, strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Signs the requests to the URL; at least 16 characters. Leave it empty to"
        " keep the stored one.",
    )  # fmt: skip
    keep = forms.BooleanField(
        label="Keep who is asked", required=False,
        help_text="An API key that has ended named who is asked, and a thief of it may have named"
        " themselves. Tick this once you have checked the URL or the entry point.",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance.ended_with_key:
            self.fields.pop("keep", None)

    def clean(self) -> dict[str, Any]:
        """Let the row have a secret while its constraints are checked: the service seals it."""
        values = super().clean() or self.cleaned_data
        if values.get("secret"):
            self.instance.secret_sealed = b"sealed when it is stored"
        return values


@admin.register(DecisionProvider)
class DecisionProviderAdmin(ConsoleAdmin):
    """Decision providers: who may reject or scale entries before they are sent."""

    form = DecisionProviderForm
    change_right = Right.LIMITS
    list_display = ("name", "user", "kind", "on_failure", "timeout_seconds", "max_age_seconds")
    list_filter = (("kind", ChoicesDropdownFilter), ("on_failure", ChoicesDropdownFilter))
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    autocomplete_fields = ("user", "calendar")
    fieldsets = (
        (None, {"fields": (("name", "user"), ("kind", "on_failure"),
                           ("timeout_seconds", "max_age_seconds"), "candle_minutes")}),
        (
            "Rules",
            {"fields": (("max_spread", "max_spread_unit", "max_spread_percentile"),
                        ("min_atr_percent", "max_atr_percent"), ("sessions", "session_zone"),
                        ("calendar", "news_impact"), ("news_minutes_before", "news_minutes_after"),
                        "broken_rule_factor")},
        ),
        ("Your own web service", {"fields": ("url", "secret")}),
        ("Installed package", {"fields": ("entry_point",)}),
    )  # fmt: skip

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Add the provider, or write what was changed on the page."""
        by: Any = request.user
        secret = form.cleaned_data.get("secret") or ""
        names = set(form.changed_data) - {"secret", "keep"}
        if form.cleaned_data.get("keep"):
            names |= {"url", "entry_point"}
        if not change:
            services.add_decision_provider(obj, secret=secret, by=by)
        elif names or secret:
            changes = {name: form.cleaned_data[name] for name in names}
            services.change_decision_provider(obj.pk, secret=secret, by=by, **changes)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return them with the question whether to keep who is asked, if its key has ended."""
        found = super().get_fieldsets(request, obj)
        return [*found, KEEP] if obj is not None and obj.ended_with_key else found

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return the owner for a provider that exists: its secret is bound to them."""
        return ("user",) if obj is not None else ()


class NewsCalendarForm(forms.ModelForm):  # type: ignore[type-arg]
    """A calendar with its events as CSV, which replace all of them."""

    csv = forms.CharField(
        label="Events", required=False, strip=False, max_length=MAX_CALENDAR_BYTES,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 10, "spellcheck": "false"}),
        help_text="CSV with the columns time, currency, impact and title. Paste the whole file: it"
        " replaces all events. At most 1 MB; left empty, the events stay.",
    )  # fmt: skip

    def clean_csv(self) -> bytes | None:
        """Return the text's bytes. Raises ValidationError with all its faults."""
        text: str = self.cleaned_data["csv"]
        if not text.strip():
            return None
        data = text.encode()
        if faults := read_calendar(data)[1]:
            raise ValidationError(faults[:100])
        return data


@admin.register(NewsCalendar)
class NewsCalendarAdmin(ConsoleAdmin):
    """Imported news calendars, for rules about news."""

    form = NewsCalendarForm
    change_right = Right.LIMITS
    list_display = ("name", "user", "event_count", "starts_at", "ends_at", "imported_at")
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    autocomplete_fields = ("user",)
    fields = ("name", "user", "csv")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write the calendar, and replace its events by those entered."""
        by: Any = request.user
        if change:
            super().save_model(request, obj, form, change)
        else:
            obj.pk = services.add_news_calendar(obj.name, owner=obj.user, by=by).pk
        if data := form.cleaned_data.get("csv"):
            services.import_calendar(obj.pk, data, by=by)
