"""The console's pages of buses: how far each is, what it refused, pause and replay."""

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString

from buses import services
from buses.incoming.admin import BusMessageAdmin, BusRouteAdmin
from buses.incoming.lane_admin import BusLaneAdmin, lane_badge, letters_link
from buses.incoming.lanes import with_letters
from buses.models import BusLane, BusSink, DeadLetter
from common.permissions import Right
from common.web.admin import ConsoleAdmin, link, time_column
from common.web.badges import amount, badge

__all__ = (
    "BusLaneAdmin", "BusMessageAdmin", "BusRouteAdmin", "BusSinkAdmin", "DeadLetterAdmin",
)  # fmt: skip


@admin.register(BusSink)
class BusSinkAdmin(ConsoleAdmin):
    """Buses. "Deliver again since" sends what happened since then once more, with the same ids."""

    change_right = Right.SCHEDULES
    empty_text = (
        "No message bus is connected, and none is needed to trade. To deliver orders, fills and"
        " positions to other systems, name the buses in FILLCAST_BUSES and restart; each is listed"
        " here once the process manage.py buses has started (docs/buses.md)."
    )
    list_before_template = "buses/incoming.html"
    list_display = ("name", "state", "lag", "letters", "confirmed",
                    time_column("last_success_at", "Last delivery"), "last_error",
                    time_column("last_error_at", "Last error"))  # fmt: skip
    search_fields = ("name",)
    ordering = ("name",)
    actions = ("pause", "resume", "replay")
    fields = ("name", "rewind_to", "last_error", "last_error_at", "paused_at", "paused_by",
              "holder", "read_to")  # fmt: skip
    readonly_fields = tuple(name for name in fields if name != "rewind_to")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """FILLCAST_BUSES names the buses."""
        return False

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the buses with their dead letters counted."""
        waiting = Count("dead_letters", filter=Q(dead_letters__replayed_at=None))
        return super().get_queryset(request).annotate(waiting=waiting)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Return the list, with what comes in by buses above it."""
        live = with_letters(BusLane.objects.filter(ended_at=None))
        lanes = [(lane, lane_badge(lane), letters_link(lane)) for lane in live]
        return super().changelist_view(request, {**(extra_context or {}), "lanes": lanes})

    @admin.display(description="State")
    def state(self, sink: BusSink) -> SafeString:
        """Return the badge of how the bus does."""
        if sink.paused_at is not None:
            return badge("paused", "Paused")
        if sink.lease_until is None or sink.lease_until < timezone.now():
            return badge("rejected", "Not running")
        if sink.failures:
            return badge("rejected", f"Fails ({sink.failures})")
        return badge("pending", "Catching up") if sink.is_behind else badge("ok", "Up to date")

    @admin.display(description="Behind, s", ordering="read_to")
    def lag(self, sink: BusSink) -> SafeString:
        """Return how old what was not delivered may be."""
        behind = timezone.now() - sink.read_to
        return amount(max(0, round(behind / timedelta(seconds=1))))

    @admin.display(description="Delivered", ordering="delivered")
    def confirmed(self, sink: BusSink) -> SafeString:
        """Return how many events the bus has confirmed."""
        return amount(sink.delivered)

    @admin.display(description="Dead letters")
    def letters(self, sink: Any) -> SafeString | str:
        """Return how many events wait among the dead letters."""
        return amount(sink.waiting)

    @admin.action(description="Pause delivery")
    def pause(self, request: HttpRequest, queryset: Any) -> None:
        """Stop delivering; nothing is lost, as far as the retention of the log reaches."""
        services.pause(queryset, by=request.user.get_username())

    @admin.action(description="Resume delivery")
    def resume(self, request: HttpRequest, queryset: Any) -> None:
        """Deliver again, from where it stopped."""
        services.resume(queryset)

    @admin.action(description="Send dead letters again")
    def replay(self, request: HttpRequest, queryset: Any) -> None:
        """Request that all dead letters of these buses are sent again."""
        count = services.replay(DeadLetter.objects.filter(sink__in=queryset))
        messages.info(request, f"{count:,} dead letters will be sent again.")


@admin.register(DeadLetter)
class DeadLetterAdmin(ConsoleAdmin):
    """Events that a bus refused, with its reason."""

    change_right = Right.SCHEDULES
    empty_text = "No bus has refused an event. What one refuses is listed here with the reason."
    list_display = ("envelope_id", "bus", "type", "reason", time_column("at", "Refused"), "state")
    list_filter = ("sink", "type")
    list_select_related = ("sink",)
    search_fields = ("envelope_id",)
    actions = ("replay",)
    fields = ("envelope_id", "sink", "type", "reason", "envelope", "at", "replay_requested_at",
              "replayed_at")  # fmt: skip
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only the system writes dead letters."""
        return False

    @admin.display(description="Bus", ordering="sink")
    def bus(self, letter: DeadLetter) -> SafeString | str:
        """Return the bus that refused it."""
        return link("buses_bussink_change", letter.sink_id, letter.sink)

    @admin.display(description="State")
    def state(self, letter: DeadLetter) -> SafeString:
        """Return the badge of whether it was sent again."""
        if letter.replayed_at is not None:
            return badge("ok", "Delivered")
        is_requested = letter.replay_requested_at is not None
        return badge("pending", "Requested") if is_requested else badge("attention", "Refused")

    @admin.action(description="Send again")
    def replay(self, request: HttpRequest, queryset: Any) -> None:
        """Request that the chosen ones are sent again."""
        count = services.replay(queryset)
        messages.info(request, f"{count:,} dead letters will be sent again.")
