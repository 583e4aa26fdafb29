"""Differences between our rows and a broker, and the decisions about them."""

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common.web.api_fields import (
    Amount,
    Reason,
    StrictModelSerializer,
    StrictSerializer,
    WholeNumber,
    reason,
)
from execution.models import Decision, DriftItem
from execution.reconciliation import presentation
from execution.reconciliation.decisions import actions_of

ACTIONS = [decision.value.lower() for decision in Decision if decision]


class DriftSerializer(StrictModelSerializer[DriftItem]):
    """A difference between our rows and a broker: its evidence and decisions."""

    reason = serializers.SerializerMethodField()
    connection_name = serializers.CharField(source="connection.name", read_only=True)
    summary = serializers.SerializerMethodField(
        help_text="Which position or order it is about, and what both sides hold."
    )
    actions = serializers.SerializerMethodField(help_text="The decisions that are possible now.")

    class Meta:
        model = DriftItem
        fields = (
            "id",
            "kind",
            "reason",
            "summary",
            "connection",
            "connection_name",
            "order_id",
            "position_id",
            "key",
            "evidence",
            "state",
            "actions",
            "decision",
            "decided_by",
            "decided_at",
            "resolution",
            "found_at",
            "seen_at",
            "resolved_at",
        )
        read_only_fields = fields

    def get_summary(self, item: DriftItem) -> str:
        """Return what differs and how, in short."""
        return presentation.summary(item)

    @extend_schema_field(serializers.ListField(child=serializers.ChoiceField(ACTIONS)))
    def get_actions(self, item: DriftItem) -> list[str]:
        """Return the decisions that are possible now."""
        return [decision.value.lower() for decision in actions_of(item)]

    @extend_schema_field(Reason(allow_null=True))
    def get_reason(self, item: DriftItem) -> dict[str, str] | None:
        """Return the code, sentence and hint of the difference."""
        return reason(item.kind)


class AdoptSerializer(StrictSerializer):
    """Levels for an adopted trade, instead of the broker's."""

    stop_loss = Amount(required=False, positive=True)
    take_profit = Amount(required=False, positive=True)


class RelinkSerializer(StrictSerializer):
    """The order or position of the same connection that it belongs to. Empty for levels."""

    order = WholeNumber(required=False, min_value=1)
    position = WholeNumber(required=False, min_value=1)


class IgnoreSerializer(StrictSerializer):
    """Why the difference is ignored."""

    reason = serializers.CharField(max_length=200)


class CompareSerializer(StrictSerializer):
    """Which connection to compare; by default all that the caller may see."""

    connection = serializers.UUIDField(required=False)


class CompareDoneSerializer(StrictSerializer):
    """How many connections will be compared."""

    count = serializers.IntegerField(read_only=True)
