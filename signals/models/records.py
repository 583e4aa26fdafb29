"""The record of a feed: a hash chain of what it has published. Only triggers write its links."""

from django.db import models

from common.fields import ChoiceField
from signals.models.feeds import Feed
from signals.models.signals import Signal


class RecordLink(models.Model):
    """One publication, cancellation or final result, sealed at its commit.

    It outlives the row of its signal.
    """

    class Kind(models.TextChoices):
        OPEN = "OPEN", "Opened"
        MODIFY = "MODIFY", "Modified"
        CLOSE = "CLOSE", "Closed"
        CANCEL = "CANCEL", "Cancelled"
        RESULT = "RESULT", "Result"

    feed = models.ForeignKey(
        Feed, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    signal = models.ForeignKey(
        Signal, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    kind = ChoiceField(max_length=6, choices=Kind)
    terms = models.JSONField(
        help_text="The signal as published, with the market of that moment; or its result."
    )
    salt = models.CharField(max_length=36, help_text="So that a withheld link cannot be guessed.")
    sealed_later = models.BooleanField(
        default=False,
        help_text="It was published, or its result final, before such links were sealed.",
    )
    number = models.BigIntegerField(null=True, help_text="In its feed, without gaps, by commit.")
    sealed_at = models.DateTimeField(null=True, help_text="Machine time of the commit.")
    hash = models.CharField(max_length=64, null=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["feed", "number"], name="one_link_of_a_number")
        ]
        indexes = [
            models.Index(fields=["signal"], name="record_of_signal"),
            models.Index(
                fields=["feed", "id"], name="record_unnumbered", condition=models.Q(number=None)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number}: {self.kind} S-{self.signal_id}"


class RecordHead(models.Model):
    """The number of links of a feed, and the hash of the last one."""

    feed = models.OneToOneField(
        Feed, models.DO_NOTHING, primary_key=True, related_name="+", db_constraint=False
    )
    links = models.BigIntegerField()
    hash = models.CharField(max_length=64, blank=True)
    sealed_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.links} links"


class RecordAnchor(models.Model):
    """A feed's head at one time, signed with a key that the database does not have."""

    feed = models.ForeignKey(
        Feed, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    at = models.DateTimeField()
    number = models.BigIntegerField()
    hash = models.CharField(max_length=64)
    signature = models.TextField()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["feed", "id"], name="record_anchor_of_feed")]

    def __str__(self) -> str:
        return f"link {self.number}"


class RecordStatus(models.Model):
    """What the last full check of a feed's record found. findings: empty if it is intact."""

    feed = models.OneToOneField(Feed, models.CASCADE, primary_key=True, related_name="+")
    verified_at = models.DateTimeField(help_text="Machine time.")
    number = models.BigIntegerField(help_text="The last link that was checked.")
    findings = models.TextField(blank=True, default="")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return "broken" if self.findings else "intact"
