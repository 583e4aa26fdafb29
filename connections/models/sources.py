"""The health of price sources that a process follows."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from connections.models.presets import DataConnection


class SourceHealth(models.Model):
    """The health of a source that a process follows, updated in place. Machine time."""

    source = models.OneToOneField(
        DataConnection, models.CASCADE, primary_key=True, related_name="health"
    )
    last_contact_at = models.DateTimeField(
        null=True, help_text="When its broker last confirmed a price."
    )
    error_code = models.CharField(max_length=40, blank=True, help_text="Empty: no error.")
    error = models.CharField(max_length=500, blank=True, help_text="Whole sentences.")
    failing_since = models.DateTimeField(null=True)
    pairs = ArrayField(
        models.CharField(max_length=20), default=list, help_text="The followed canonical pairs."
    )
    missing = ArrayField(
        models.CharField(max_length=20),
        default=list,
        help_text="The followed pairs without a usable price.",
    )
    held_back = models.BigIntegerField(
        default=0, db_default=0, help_text="Quotes far from the one before that were held back."
    )
    last_held = models.CharField(
        max_length=120, blank=True, default="", db_default="", help_text="The last of them."
    )
    suspects = ArrayField(
        models.CharField(max_length=20),
        default=list,
        db_default=[],
        help_text="The pairs of which a quote is suspect now: it counts for nothing yet.",
    )
    suspect_since = models.DateTimeField(null=True, help_text="Since when there is one.")
    on_fallback = ArrayField(
        models.CharField(max_length=20),
        default=list,
        db_default=[],
        help_text="The pairs that have the prices of a fallback now.",
    )
    fallback_names = models.CharField(
        max_length=220, blank=True, default="", db_default="", help_text="Of those fallbacks."
    )
    alarmed_at = models.DateTimeField(
        null=True, help_text="Since when its silence has been reported; NULL: it was not."
    )
    followed_by = models.CharField(max_length=80, blank=True, help_text="A trading process.")

    def __str__(self) -> str:
        return f"source {self.pk}: {self.error_code or 'well'}"
