"""Requests for approval, terms and drafts as the API reads and returns them."""

from typing import Any

from rest_framework import serializers

from common.web.api_fields import Json, StrictModelSerializer, StrictSerializer, WholeNumber
from signals.models import MAX_TERMS, MAX_TEXT, Action, ApprovalRequest, FeedTerms, SavedDraft


class ApprovalRequestSerializer(StrictModelSerializer[ApprovalRequest]):
    """A request of a feed's owner for its approval, and the operators' answer."""

    outcome = serializers.SerializerMethodField(help_text="OPEN, GRANTED, REFUSED or WITHDRAWN.")

    class Meta:
        model = ApprovalRequest
        fields = ("id", "text", "requested_at", "outcome", "sentence", "decided_at")
        read_only_fields = fields

    def get_outcome(self, row: ApprovalRequest) -> str:
        return row.outcome or "OPEN"


class NewRequestSerializer(StrictSerializer):
    """A request for approval."""

    text = serializers.CharField(max_length=MAX_TEXT, allow_blank=True, default="")


class GrantSerializer(StrictSerializer):
    """An approval, with a sentence for the owner."""

    sentence = serializers.CharField(max_length=MAX_TEXT, allow_blank=True, default="")


class RefusalSerializer(StrictSerializer):
    """A refusal, with the sentence that the owner reads."""

    sentence = serializers.CharField(max_length=MAX_TEXT)


class TermsSerializer(StrictModelSerializer[FeedTerms]):
    """The terms of a feed from `created_at` on."""

    class Meta:
        model = FeedTerms
        fields = ("id", "text", "created_at")
        read_only_fields = fields


class NewTermsSerializer(StrictSerializer):
    """The terms from now on; empty: none any more."""

    text = serializers.CharField(max_length=MAX_TERMS, allow_blank=True)


class DraftSerializer(StrictModelSerializer[SavedDraft]):
    """A signal that is being written. Nothing of it is sent before it is published."""

    body = Json(read_only=True, help_text="The signal as POST /signals/ takes it.")
    signal = serializers.PrimaryKeyRelatedField[Any](
        read_only=True, allow_null=True, help_text="The signal that it became."
    )

    class Meta:
        model = SavedDraft
        fields = (
            "id", "action", "body", "version", "created_at", "changed_at", "signal",
            "discarded_at",
        )  # fmt: skip
        read_only_fields = fields


class NewDraftSerializer(StrictSerializer):
    """A new draft. It may have faults; publishing it names all of them."""

    action = serializers.ChoiceField(choices=Action.choices)
    body = serializers.DictField(help_text="The signal as POST /signals/ takes it.")


class ChangedDraftSerializer(StrictSerializer):
    """A draft as it is from now on. version: of the draft that was read."""

    body = serializers.DictField(help_text="The signal as POST /signals/ takes it.")
    version = WholeNumber(min_value=1)


class DraftVersionSerializer(StrictSerializer):
    """version: of the draft that was read; left out: whichever it is now."""

    version = WholeNumber(min_value=1, required=False)
