from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from common.db.functions import ClockTimestamp
from common.fields import ChoiceField
from connections.models.accounts import ExecutionConnection
from signals.models import Feed


class HaltMode(models.TextChoices):
    """What a halt still lets through."""

    REDUCING = "REDUCING", "Exits only"
    HALTED = "HALTED", "Nothing is sent"


_NO_NAME = {"broker_type": "", "pair": ""}
_NO_ROW = {"feed": None, "user": None, "connection": None}


class KillSwitch(models.Model):
    """A halt of trading in one scope. Released ones are history.

    cancel_entries, flatten: also cancel the entries and close the positions in its scope, once. A
    trading process does it, from `set_at` to `carried_out_at`. Exits that are rejected are written
    again until the release.
    """

    class Scope(models.TextChoices):
        """What a halt concerns."""

        ALL = "ALL"
        FEED = "FEED"
        USER = "USER"
        CONNECTION = "CONNECTION"
        BROKER_TYPE = "BROKER_TYPE"
        SYMBOL = "SYMBOL"

    scope = ChoiceField(max_length=11, choices=Scope)
    mode = ChoiceField(max_length=8, choices=HaltMode)
    feed = models.ForeignKey(Feed, models.CASCADE, null=True, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="+"
    )
    connection = models.ForeignKey(ExecutionConnection, models.CASCADE, null=True, blank=True)
    broker_type = models.CharField(
        max_length=20, blank=True, default="", db_default="", help_text="A type of the registry."
    )
    pair = models.CharField(
        max_length=20, blank=True, default="", db_default="", help_text="Canonical BASE/QUOTE."
    )
    reason = models.CharField(max_length=200)
    cancel_entries = models.BooleanField(
        default=False, db_default=False, help_text="Also cancel the entries that have not filled."
    )
    flatten = models.BooleanField(
        default=False, db_default=False, help_text="Also close the open positions at the market."
    )
    carried_out_at = models.DateTimeField(
        null=True, blank=True, help_text="When these entries and positions had been processed."
    )
    set_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    set_at = models.DateTimeField(db_default=ClockTimestamp())
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "kill switches"
        constraints = [
            models.CheckConstraint(
                condition=Q(scope="ALL", feed=None, user=None, connection=None, **_NO_NAME)
                | Q(scope="FEED", feed__isnull=False, user=None, connection=None, **_NO_NAME)
                | Q(scope="USER", user__isnull=False, feed=None, connection=None, **_NO_NAME)
                | Q(scope="CONNECTION", connection__isnull=False, feed=None, user=None, **_NO_NAME)
                | Q(Q(scope="BROKER_TYPE", pair="") & ~Q(broker_type=""), **_NO_ROW)
                | Q(Q(scope="SYMBOL", broker_type="") & ~Q(pair=""), **_NO_ROW),
                name="kill_switch_names_its_scope",
            ),
            models.CheckConstraint(
                condition=Q(flatten=False) | Q(mode=HaltMode.REDUCING), name="flatten_needs_exits"
            ),
            # A shell names no user: several people may set the same there; each releases theirs.
            # What was carried out may be requested again, for what is there then.
            models.UniqueConstraint(
                fields=[
                    "set_by",
                    "scope",
                    "mode",
                    "feed",
                    "user",
                    "connection",
                    "broker_type",
                    "pair",
                    "cancel_entries",
                    "flatten",
                ],
                condition=Q(released_at=None, carried_out_at=None, set_by__isnull=False),
                nulls_distinct=False,
                name="same_halt_once_a_person",
            ),
        ]
        indexes = [
            models.Index(
                fields=["scope"], name="kill_switch_set", condition=Q(released_at__isnull=True)
            ),
            models.Index(
                fields=["id"],
                name="kill_switch_to_carry_out",
                condition=Q(released_at=None, carried_out_at=None)
                & (Q(cancel_entries=True) | Q(flatten=True)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.mode} {self.scope.lower()}"
