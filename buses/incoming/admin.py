"""The console's pages of what comes in from buses: who may send what, and what was refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.safestring import SafeString

from buses.incoming import intake
from buses.incoming.models import BusMessage, BusRoute, MessageState
from buses.incoming.routes import add_route, end_route
from common.permissions import Right
from common.web.admin import ConsoleAdmin, link, time_column
from common.web.badges import badge
from common.web.formatting import known_code

BADGES = {
    MessageState.DONE: badge("ok", "Carried out"),
    MessageState.DEAD: badge("attention", "Dead letter"),
    MessageState.DISCARDED: badge("paused", "Discarded"),
}


@admin.register(BusRoute)
class BusRouteAdmin(ConsoleAdmin):
    """Subjects that are let in. A route is not changed: end it, and add another one."""

    change_right = Right.APPROVE
    empty_text = (
        "No subject of a bus is let in, so nothing that a bus sends is executed. Add a route: a"
        " subject of approved signals and the feed they are for, or of fills and their account"
        " (docs/bus-types.md)."
    )
    list_display = ("subject", "target", "state", time_column("created_at", "Added"), "created_by")
    list_select_related = ("feed", "connection", "created_by")
    search_fields = ("subject",)
    autocomplete_fields = ("feed", "connection")
    fields = ("subject", "feed", "connection")
    actions = ("end",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return all fields of a route that exists."""
        return () if obj is None else (*self.fields, "created_at", "created_by", "ended_at")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A route is ended: the messages that came by it stay."""
        return False

    def save_model(self, request: HttpRequest, obj: BusRoute, form: Any, change: bool) -> None:
        """Add the route by its service, which checks the right and the subject."""
        by: Any = request.user
        if not change:
            added = add_route(obj.subject, feed=obj.feed, account=obj.connection, by=by)
            obj.pk = added.pk

    @admin.display(description="For")
    def target(self, route: BusRoute) -> SafeString | str:
        """Return the feed or account that it leads to."""
        if route.feed is not None:
            return link("signals_feed_change", route.feed_id, route.feed)
        page = "connections_executionconnection_change"
        return link(page, route.connection_id, route.connection)

    @admin.display(description="State")
    def state(self, route: BusRoute) -> SafeString:
        """Return whether it lets anything in."""
        return badge("ok", "Open") if route.ended_at is None else badge("paused", "Ended")

    @admin.action(description="End routes")
    def end(self, request: HttpRequest, queryset: Any) -> None:
        """Let nothing more in by these routes."""
        by: Any = request.user
        ended = sum(end_route(route.pk, by=by) for route in queryset)
        messages.info(request, f"{ended} routes ended.")


@admin.register(BusMessage)
class BusMessageAdmin(ConsoleAdmin):
    """Messages from buses. What was not carried out can be replayed, by the rules of then."""

    change_right = Right.APPROVE
    empty_text = (
        "No bus has sent a message. Those of routed subjects appear here with what became of them,"
        " the others as dead letters."
    )
    list_display = (
        "subject", "message_id", "outcome", "reason", "result",
        time_column("stored_at", "Sent"), time_column("settled_at", "Settled"),
    )  # fmt: skip
    list_filter = ("state", "code", "bus")
    list_select_related = ("signal",)
    search_fields = ("message_id", "subject")
    actions = ("replay", "discard")
    fields = ("bus", "subject", "message_id", "outcome", "reason", "hint", "result", "text",
              "length", "stored_at", "received_at", "settled_at", "replays",
              "decided_by")  # fmt: skip
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only buses add messages."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A row makes its message id count once."""
        return False

    @admin.display(description="State", ordering="state")
    def outcome(self, message: BusMessage) -> SafeString:
        """Return what became of it."""
        if message.replay_requested_at is not None:
            return badge("pending", "Replay requested")
        return BADGES[MessageState(message.state)]

    @admin.display(description="Reason")
    def reason(self, message: BusMessage) -> str:
        """Return why it was not carried out."""
        return f"{message.code}: {message.detail}" if message.code else ""

    @admin.display(description="What to do")
    def hint(self, message: BusMessage) -> str:
        """Return the next step of a dead letter."""
        code = known_code(message.code)
        return code.hint if code is not None and message.state == MessageState.DEAD else ""

    @admin.display(description="Signal")
    def result(self, message: BusMessage) -> SafeString | str:
        """Return the signal that was published."""
        if message.signal is None:
            return ""
        return link("signals_signal_page", message.signal_id, message.signal.number)

    @admin.display(description="Content")
    def text(self, message: BusMessage) -> str:
        """Return its beginning."""
        return bytes(message.body).decode("utf-8", "replace").replace("\x00", "�")

    @admin.action(description="Replay dead letters")
    def replay(self, request: HttpRequest, queryset: Any) -> None:
        """Request that these are carried out again, by the rules of then."""
        count = self._decide(request, queryset, intake.request_replay)
        messages.info(request, f"{count} messages will be replayed within seconds.")

    @admin.action(description="Discard dead letters")
    def discard(self, request: HttpRequest, queryset: Any) -> None:
        """Put these aside for good."""
        messages.info(request, f"{self._decide(request, queryset, intake.discard)} discarded.")

    def _decide(self, request: HttpRequest, queryset: Any, act: Callable[..., None]) -> int:
        dead = [row.pk for row in queryset if row.state == MessageState.DEAD]
        for row_id in sorted(dead):  # in the order in which they came: a CLOSE after its OPEN
            act(row_id, by=request.user)
        return len(dead)
