"""Admin pages of events, notifications, deliveries and channels; all read-only."""

from typing import Any

from django.contrib import admin
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from common.spellings import spellings_of
from common.web.admin import BigTableAdmin, ReadOnlyAdmin, read_id, read_uuid, time_column
from events.models import Channel, Delivery, Event, Notification


@admin.register(Event)
class EventAdmin(BigTableAdmin):
    """The outbox."""

    list_display = ("id", "kind", "signal_id", "order_id", "user_id",
                    time_column("created_at", "Created"),
                    time_column("routed_at", "Routed"))  # fmt: skip
    list_filter = (("kind", ChoicesDropdownFilter),)
    ordering = ("-id",)
    search_fields = ("id",)
    search_help_text = "Event number, or a connection's id"

    def search_exact(self, queryset: Any, term: str) -> Any:
        if (pk := read_id(term, "E")) is not None:
            return queryset.filter(pk=pk)
        connection = read_uuid(term)
        matching = self.among_newest(queryset, connection_id=connection)
        return matching if connection else queryset.none()


@admin.register(Notification)
class NotificationAdmin(BigTableAdmin):
    """The users' inboxes."""

    list_display = ("title", "user", "kind", time_column("created_at", "Created"),
                    time_column("read_at", "Read"))  # fmt: skip
    list_filter = (("kind", ChoicesDropdownFilter),)
    list_select_related = ("user",)
    search_fields = ("user__username",)
    search_help_text = "A user's exact name"

    def search_exact(self, queryset: Any, term: str) -> Any:
        return queryset.filter(user__username__in=spellings_of(term))


class DeliveryAdmin(BigTableAdmin):
    """The sends of events to channels."""

    list_display = ("event_id", "channel", "status", "tries", "due_at", "sent_at", "last_error")
    list_filter = (("status", ChoicesDropdownFilter),)
    list_select_related = ("channel",)
    ordering = ("-id",)
    search_fields = ("event_id",)

    def search_exact(self, queryset: Any, term: str) -> Any:
        pk = read_id(term, "E")
        return queryset.filter(event_id=pk) if pk is not None else queryset.none()


admin.site.register(Delivery, DeliveryAdmin)


@admin.register(Channel)
class ChannelAdmin(ReadOnlyAdmin):
    """Users' channels. An address may hold tokens, so only its scheme and host are shown."""

    list_display = ("name", "user", "url_display", "is_active", "confirmed_at", "created_at")
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    exclude = ("url_sealed",)
