"""What a signal would do if it were published now."""

from rest_framework import serializers

from common.web.api_fields import Amount, StrictSerializer, UtcDateTime


class ReasonCountSerializer(StrictSerializer):
    """How many accounts would not get an order at once, and why."""

    outcome = serializers.ChoiceField(choices=["waiting", "skipped", "not_listed", "denied"])
    code = serializers.CharField(
        source="name",
        allow_blank=True,
        help_text="Empty: reasons of the accounts, which only their owners may see.",
    )
    sentence = serializers.CharField()
    hint = serializers.CharField(allow_blank=True)
    connections = serializers.IntegerField()


class SizesSerializer(StrictSerializer):
    """The range of quantities that would be sent, in base units. kind: the broker type; empty:
    all."""

    kind = serializers.CharField(source="broker_type", allow_blank=True)
    connections = serializers.IntegerField()
    smallest = Amount()
    median = Amount()
    largest = Amount()


class PreviewSerializer(StrictSerializer):
    """The candidates of a signal by outcome, if it were published now."""

    as_of = UtcDateTime(help_text="Market time.")
    candidates = serializers.IntegerField()
    sent = serializers.IntegerField()
    waiting = serializers.IntegerField()
    skipped = serializers.IntegerField()
    not_listed = serializers.IntegerField(help_text="Their broker does not list the symbol.")
    denied = serializers.IntegerField()
    is_wrong_for_all = serializers.BooleanField(
        help_text="No account could take it as it is; sending it is refused."
    )
    correlated = serializers.IntegerField(
        help_text="Those that would get an order, with a warning about correlated exposure. 0 if "
        "the sizes are not yours to see."
    )
    followers = serializers.IntegerField(help_text="The owners of the candidates.")
    sent_followers = serializers.IntegerField(
        help_text="The owners of those that would get an order."
    )
    quantity = Amount(
        allow_null=True,
        help_text="What would be sent to all of them, or closed, in base units. Providers see two "
        "digits, and null if it is that of fewer than 5 followers beside themselves.",
    )
    reasons = ReasonCountSerializer(many=True)
    sizes = SizesSerializer(many=True)


class OcoPreviewSerializer(StrictSerializer):
    """The candidates of each leg of an OCO pair by outcome, in the order of the legs."""

    legs = PreviewSerializer(many=True)
