"""The console's list of alerts: what arrived for feeds in the last week, and its outcome."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter

from alerts.inbox.log import SHAPES, AlertEntry, entries_for
from alerts.models import AlertState, IncomingAlert
from common.web.admin import BigTableAdmin, among_newest, link, read_id, time_column
from common.web.badges import badge

_SHOWN = 120


class _StateFilter(ChoicesDropdownFilter):  # type: ignore[misc]  # unfold has no types
    """A state: of all feeds among the newest alerts only, since no index has it."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[IncomingAlert]) -> Any:
        found = super().queryset(request, queryset)
        if not self.used_parameters or "feed__id__exact" in request.GET:
            return found
        return among_newest(IncomingAlert, found)


@admin.register(IncomingAlert)
class IncomingAlertAdmin(BigTableAdmin):
    """Alerts as they arrived. The body is shown without the secrets of other services."""

    list_display = (
        "number", "feed", "source", "state_badge", "code", "outcome",
        time_column("received_at", "Received"),
    )  # fmt: skip
    list_filter = (("feed", RelatedDropdownFilter), ("state", _StateFilter))
    list_select_related = ("feed",)
    ordering = ("-id",)
    search_fields = ("id",)
    search_help_text = "Alert number, or an S-number that it published"
    fieldsets = (
        (None, {"fields": (("feed", "state_badge"), "sentence", "hint", "code", "published")}),
        ("As it arrived", {"fields": (
            "text", ("source", "address"), "token", ("reply_to", "edit_of"),
        )}),
        ("Times", {"fields": (
            ("received_at", "settled_at"), ("entry_until", "expires_at"), ("due_at", "attempts"),
        )}),
    )  # fmt: skip
    readonly_fields = ("state_badge", "sentence", "hint", "published", "text")

    @admin.display(description="Alert", ordering="id")
    def number(self, alert: IncomingAlert) -> str:
        return f"A-{alert.pk}"

    @admin.display(description="State", ordering="state")
    def state_badge(self, alert: IncomingAlert) -> SafeString:
        state = AlertState(alert.state)
        return badge(SHAPES[state], state.label)

    @admin.display(description="What became of it")
    def outcome(self, alert: IncomingAlert) -> str:
        text = AlertEntry(alert, (), None).sentence
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"

    @admin.display(description="What became of it")
    def sentence(self, alert: IncomingAlert) -> str:
        return _entry(alert).sentence

    @admin.display(description="What to do")
    def hint(self, alert: IncomingAlert) -> str:
        return _entry(alert).hint

    @admin.display(description="Published")
    def published(self, alert: IncomingAlert) -> SafeString:
        signals = _entry(alert).signals
        links = ((link("admin:signals_signal_page", one.pk, f"{one.number} · {one}"),)
                 for one in signals)  # fmt: skip
        return format_html_join(", ", "{}", links)

    @admin.display(description="Text")
    def text(self, alert: IncomingAlert) -> str:
        return AlertEntry(alert, (), None).text

    def search_exact(self, queryset: Any, term: str) -> Any:
        if term.upper().startswith("S"):
            signal, found = read_id(term, "S"), queryset.none()
            if signal is not None:
                found = self.among_newest(queryset, signal_ids__contains=[signal])
            return found
        pk = read_id(term, "A")
        return queryset.filter(pk=pk) if pk is not None else queryset.none()


def _entry(alert: IncomingAlert) -> AlertEntry:
    (entry,) = entries_for([alert])
    return entry
