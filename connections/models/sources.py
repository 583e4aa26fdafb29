"""Price sources, and the health of those that a process follows."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from common.fields import ChoiceField
from common.names import NameField
from signals.symbols import is_pair

MAX_PUSHED = 200  # pairs of a source that quotes are pushed to


class DataConnection(models.Model):
    """A price source. user None: shared with all users."""

    class Kind(models.TextChoices):
        """Where the prices come from."""

        REPLAY = "replay", "Recorded quotes"
        STATIC = "static", "Constant quotes (benchmarks)"
        BROKER = "broker", "The broker's own stream"
        PUSH = "push", "Quotes that a program pushes (HTTP)"

    name = NameField(max_length=100)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="+"
    )
    kind = ChoiceField(max_length=10, choices=Kind, default=Kind.REPLAY)
    settings = models.JSONField(default=dict, blank=True)
    broker_connection = models.OneToOneField(
        "connections.ExecutionConnection",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="price_source",
        help_text="The account whose broker provides these prices.",
    )
    fallback = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        help_text="The source that is used while this one is silent or suspect; its own fallback"
        " is the next one.",
    )
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        verbose_name = "price source"
        indexes = [
            models.Index(  # asked of each source, every second
                fields=["fallback"], condition=Q(fallback__isnull=False), name="source_fallback"
            )
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="broker") | Q(broker_connection__isnull=True),
                name="only_broker_source_has_connection",
                violation_error_message="Only a source of the kind broker has an account.",
            ),
            models.CheckConstraint(
                condition=Q(fallback__isnull=True) | ~Q(fallback=models.F("id")),
                name="source_is_not_its_own_fallback",
                violation_error_message="A price source cannot be its own fallback.",
            ),
            # Switched off, it may lack one.
            models.CheckConstraint(
                condition=~Q(kind="broker")
                | Q(broker_connection__isnull=False)
                | Q(is_active=False),
                name="broker_source_has_connection",
                violation_error_message=(
                    "A source of the kind broker needs the account that provides its prices."
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def pushed_symbols(self) -> list[str]:
        """The pairs that may be pushed to it, as its settings name them; [] if they name none."""
        named = self.settings.get("symbols") if isinstance(self.settings, dict) else None
        return [str(pair).upper() for pair in named] if isinstance(named, list) else []

    def clean(self) -> None:
        """Raise ValidationError for a pushed source without pairs, or an unsuitable fallback."""
        symbols = self.pushed_symbols
        if self.kind == self.Kind.PUSH and not (
            0 < len(symbols) <= MAX_PUSHED and all(map(is_pair, symbols))
        ):
            sentence = 'Name the pairs that may be pushed, 200 at most: {"symbols": ["EUR/USD"]}.'
            raise ValidationError({"settings": sentence})
        self._clean_owner()
        fallback = self.fallback
        if fallback is None:
            return
        is_live = {self.kind, fallback.kind} <= {self.Kind.BROKER, self.Kind.PUSH}
        if not is_live or fallback.user_id not in (None, self.user_id) or fallback.pk == self.pk:
            sentence = (
                "Choose another source whose prices come from a broker or are pushed, of the same"
                " owner or a shared one; only such a source has a fallback."
            )
            raise ValidationError({"fallback": sentence})

    def _clean_owner(self) -> None:
        """Raise ValidationError if sources of others have this one as their fallback."""
        if self._state.adding or self.user_id is None:
            return
        stood_in_for = DataConnection.objects.filter(fallback=self.pk)
        names = [one.name for one in stood_in_for if one.user_id != self.user_id]
        if names:
            sentence = (
                "Shared sources, or those of other owners, have it as their fallback:"
                f" {', '.join(sorted(names)[:5])}. Give them another one first."
            )
            raise ValidationError({"user": sentence})


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
