"""Alerts and what became of them, as the API returns them."""

from typing import Any

from rest_framework import serializers

from alerts.inbox.log import AlertEntry
from alerts.models import AlertSource, AlertState, Refusal
from common.web.api_fields import StrictSerializer

SHOWN_BYTES = 2_000


class AlertErrorSerializer(StrictSerializer):
    """One fault of a refused alert."""

    code = serializers.CharField()
    field = serializers.CharField()
    detail = serializers.CharField()


class AlertWaitSerializer(StrictSerializer):
    """Why an alert waits."""

    code = serializers.CharField()
    detail = serializers.CharField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField(allow_null=True, help_text="It waits no longer than that.")
    attempts = serializers.IntegerField()


class AlertStatusSerializer(StrictSerializer):
    """An alert and what became of it."""

    alert = serializers.IntegerField(source="alert.pk", help_text="Its number in the feed's log.")
    state = serializers.ChoiceField(AlertState.choices, source="alert.state")
    received_at = serializers.DateTimeField(source="alert.received_at")
    settled_at = serializers.DateTimeField(source="alert.settled_at", allow_null=True)
    summary = serializers.CharField(
        source="sentence", help_text="What was done, or why nothing was, in a sentence."
    )
    change = serializers.CharField(
        source="alert.change",
        help_text="How it was read: entry, add, reduce, reverse, flat, close; empty for a signal.",
    )
    id = serializers.SerializerMethodField(
        help_text="Of the signal that represents it: the one that opens, else the first."
    )
    number = serializers.SerializerMethodField()
    is_new = serializers.SerializerMethodField(
        help_text="False: the same alert was received before."
    )
    signals = serializers.SerializerMethodField(
        help_text="The numbers of all signals that it published."
    )
    candidates = serializers.IntegerField(
        allow_null=True,
        help_text="Accounts that its signals were sent to; see their orders for the results.",
    )
    wait = AlertWaitSerializer(allow_null=True, help_text="Null once it is settled.")
    code = serializers.CharField(help_text="Why it was refused or waits.")
    hint = serializers.CharField()
    refusal = serializers.ChoiceField(
        [("", ""), *Refusal.choices], source="alert.refusal", help_text="The kind of a refusal."
    )
    errors = AlertErrorSerializer(  # type: ignore[assignment]  # a field, not its property
        source="alert.errors", many=True
    )

    is_published = serializers.SerializerMethodField()

    def get_is_published(self, entry: AlertEntry) -> bool:
        return bool(entry.signals)

    def get_id(self, entry: AlertEntry) -> int | None:
        return entry.main.pk if entry.main else None

    def get_number(self, entry: AlertEntry) -> str | None:
        return entry.main.number if entry.main else None

    def get_is_new(self, entry: AlertEntry) -> bool:
        return entry.alert.state != AlertState.REPEATED

    def get_signals(self, entry: AlertEntry) -> list[str]:
        return [signal.number for signal in entry.signals]


class AlertLogSerializer(AlertStatusSerializer):
    """A line of a feed's log of alerts."""

    source = serializers.ChoiceField(  # type: ignore[assignment]  # a field, not its attribute
        AlertSource.choices, source="alert.source"
    )
    token = serializers.SerializerMethodField(
        help_text="The name of the token of its address; empty for other sources."
    )
    address = serializers.IPAddressField(source="alert.address", allow_null=True)
    body = serializers.SerializerMethodField(help_text=f"At most {SHOWN_BYTES:,} characters.")

    def get_token(self, entry: AlertEntry) -> str:
        token: Any = entry.alert.token
        return str(token.name) if token else ""

    def get_body(self, entry: AlertEntry) -> str:
        return entry.text[:SHOWN_BYTES]
