"""What a provider keeps beside a feed: requests for its approval, its terms, and drafts."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from common.db.functions import ClockTimestamp
from common.fields import ChoiceField
from signals.models.choices import Action
from signals.models.feeds import Feed
from signals.models.signals import Signal

MAX_TEXT, MAX_TERMS = 500, 20_000


class RequestOutcome(models.TextChoices):
    """How a request for approval ended."""

    OPEN = "", "Open"
    GRANTED = "GRANTED"
    REFUSED = "REFUSED"
    WITHDRAWN = "WITHDRAWN"


class ApprovalRequest(models.Model):
    """The owner of a feed asks operators to approve it. The answer stays, with its sentence."""

    feed = models.ForeignKey(Feed, models.CASCADE, related_name="approval_requests")
    text = models.CharField(max_length=MAX_TEXT, blank=True, help_text="For the operators.")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(db_default=ClockTimestamp())
    outcome = ChoiceField(
        max_length=9, choices=RequestOutcome, blank=True, default="", db_default=""
    )
    sentence = models.CharField(
        max_length=MAX_TEXT, blank=True, default="", db_default="",
        help_text="The operator's answer, which the owner reads.",
    )  # fmt: skip
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=["feed"], condition=Q(outcome=""), name="one_open_request"
            ),
            models.CheckConstraint(
                condition=Q(outcome="", decided_at=None)
                | Q(
                    outcome__in=("GRANTED", "REFUSED", "WITHDRAWN"),
                    decided_at__isnull=False,
                ),
                name="request_is_decided",
            ),
            models.CheckConstraint(
                condition=~Q(outcome="REFUSED") | ~Q(sentence=""), name="refusal_has_sentence"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.feed_id}: {self.outcome or 'open'}"

    @property
    def is_open(self) -> bool:
        """Whether it waits for an operator."""
        return not self.outcome


class FeedTerms(models.Model):
    """The terms of a feed from this time on. Append-only: the rows are their history."""

    feed = models.ForeignKey(Feed, models.CASCADE, related_name="terms")
    text = models.TextField(blank=True, max_length=MAX_TERMS, help_text="Empty: no terms.")
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index(fields=["feed", "-id"], name="feed_terms_newest")]

    def __str__(self) -> str:
        return f"{self.feed_id}: {self.created_at}"


class SavedDraft(models.Model):
    """A signal that is being written, even if it has faults. Nothing of it is sent.

    key: of the form it was written in; the signal gets it as its external id, so that it is
    published once. version: grows with each change, so that a page does not publish another text
    than it showed.
    """

    feed = models.ForeignKey(Feed, models.CASCADE, related_name="drafts")
    key = models.UUIDField(default=uuid.uuid4)
    action = ChoiceField(max_length=6, choices=Action)
    body = models.JSONField(default=dict, help_text="The signal as the API takes it.")
    version = models.IntegerField(default=1)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    changed_at = models.DateTimeField(db_default=ClockTimestamp())
    signal = models.OneToOneField(
        Signal, models.PROTECT, null=True, blank=True, related_name="draft",
        help_text="What it became.",
    )  # fmt: skip
    discarded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(fields=["feed", "key"], name="one_draft_a_form"),
            models.CheckConstraint(
                condition=Q(signal=None) | Q(discarded_at=None), name="draft_ends_once"
            ),
        ]
        indexes = [
            models.Index(
                fields=["feed", "-id"], name="draft_open",
                condition=Q(signal=None, discarded_at=None),
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        values = self.body
        parts = (values.get("direction", ""), values.get("symbol", ""))
        return " ".join([self.action.title(), *(str(part) for part in parts if part)])

    @property
    def is_open(self) -> bool:
        """Whether it can still be changed, published or discarded."""
        return self.signal_id is None and self.discarded_at is None

    @property
    def external_id(self) -> str:
        """The external id of the signal that it becomes."""
        return f"form:{self.key}"
