"""The console's page of what comes in by each bus: how its reception goes, and what failed."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from buses.incoming import lanes
from buses.incoming.lanes import LaneState, newest_letters, state_of, with_letters
from buses.incoming.models import BusLane
from common.db.sql import database_now
from common.permissions import Right
from common.web.admin import ConsoleAdmin, time_column
from common.web.badges import amount, badge
from common.web.formatting import known_code

BADGES = {
    LaneState.ENDED: "paused",
    LaneState.PAUSED: "paused",
    LaneState.LATE: "rejected",
    LaneState.FAILING: "rejected",
    LaneState.STARTING: "pending",
    LaneState.RECEIVED: "ok",
}


def lane_badge(lane: BusLane) -> SafeString:
    """Return the badge of how the reception of a lane goes."""
    state = state_of(lane, database_now())
    failures = f" ({lane.failures})" if state is LaneState.FAILING else ""
    return badge(BADGES[state], f"{state.label}{failures}")


def letters_address(lane: BusLane) -> str:
    """Return the address of the list of a lane's dead letters."""
    chosen = {"state__exact": "DEAD", "subject__startswith": lane.subjects}
    if lane.bus:  # else it was not polled yet
        chosen["bus"] = lane.bus
    return f"{reverse('admin:buses_busmessage_changelist')}?{urlencode(chosen)}"


def letters_link(lane: Any) -> SafeString:
    """Return how many dead letters wait for a decision, as a link to them.

    lane: as `with_letters` returns it.
    """
    if not lane.letters:
        return amount(0)
    return format_html(
        '<a href="{}" aria-label="{} dead letters">{}</a>',
        letters_address(lane), lane.letters, amount(lane.letters),
    )  # fmt: skip


def _wrapped(text: str) -> SafeString:
    return format_html('<span class="fc"><span class="fc-wrap">{}</span></span>', text)


@admin.register(BusLane)
class BusLaneAdmin(ConsoleAdmin):
    """Lanes from buses: what comes in, when each was received, and until where it was read."""

    change_right = Right.SCHEDULES
    empty_text = (
        "Nothing comes in by a bus, and nothing needs to. To let another system send approved"
        " signals or fills, name its bus in FILLCAST_BUSES with from+ (from+nats://…,"
        " from+clickhouse://…) and restart; the process manage.py bus_receiver receives it. Then"
        " add a route for its subject under Routes from buses (docs/bus-types.md)."
    )
    change_form_outer_before_template = "buses/lane_buttons.html"
    change_form_outer_after_template = "buses/lane_letters.html"
    list_display = (
        "whole_name", "state", "letters", time_column("last_message_at", "Last message"), "read_to",
        time_column("polled_at", "Last polled"), "last_error",
        time_column("last_error_at", "Last error at"),
    )  # fmt: skip
    search_fields = ("name",)
    ordering = ("name",)
    actions = ("pause", "resume")
    fields = ("whole_name", "state", "what_to_do", "polled_at", "last_message_at", "read_to",
              "error", "last_error_at", "paused_at", "paused_by")  # fmt: skip
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """FILLCAST_BUSES names the lanes."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Its row has how far it was read."""
        return False

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the lanes with their dead letters counted."""
        return with_letters(super().get_queryset(request))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Return the page of a lane with its newest dead letters."""
        lane: Any = self.get_object(request, object_id)
        more = {**(extra_context or {}), "show_save": False, "show_save_and_continue": False}
        if lane is not None:
            letters = [(one, known_code(one.code)) for one in newest_letters(lane)]
            more |= {"letters": letters, "letters_address": letters_address(lane)}
        shown: HttpResponse = super().change_view(request, object_id, form_url, more)
        return shown

    @admin.display(description="Name", ordering="name")
    def whole_name(self, lane: BusLane) -> SafeString:
        """Return its name, which a narrow page breaks."""
        return _wrapped(lane.name)

    @admin.display(description="Last error")
    def error(self, lane: BusLane) -> SafeString:
        """Return its last error, which a narrow page breaks."""
        return _wrapped(lane.last_error or "none")

    @admin.display(description="State")
    def state(self, lane: BusLane) -> SafeString:
        """Return the badge of how its reception goes."""
        return lane_badge(lane)

    @admin.display(description="What to do")
    def what_to_do(self, lane: BusLane) -> str:
        """Return the next step for its state."""
        return state_of(lane, database_now()).next_step

    @admin.display(description="Dead letters", ordering="letters")
    def letters(self, lane: Any) -> SafeString:
        """Return how many messages were not carried out, and wait for a decision."""
        return letters_link(lane)

    @admin.display(description="Read up to")
    def read_to(self, lane: BusLane) -> str:
        """Return until where it was read."""
        return lane.position or "nothing yet"

    @admin.action(description="Pause reception")
    def pause(self, request: HttpRequest, queryset: Any) -> None:
        """Take nothing more; what comes stays at the bus, as far as its retention reaches."""
        count = lanes.pause(queryset, by=request.user.get_username())
        messages.info(request, f"{count} lanes paused. What comes waits at the bus.")

    @admin.action(description="Resume reception")
    def resume(self, request: HttpRequest, queryset: Any) -> None:
        """Take what came meanwhile, and go on."""
        messages.info(request, f"{lanes.resume(queryset)} lanes resumed.")
