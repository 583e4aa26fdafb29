"""Who has proven that an account is his; what is untested needs a test."""

from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.db import migrations, models
from django.db.models.functions import Now

LONGEST = 500
# What accounts were the only ones with when this was written: the setting within which a number
# counts, or none. What forms say later, and whether a kind's package is installed where this runs,
# must not change what comes of it.
WITHIN = {"ibkr": "", "mt4": "folder", "mt5": "server", "mt5-dwx": "folder", "paper": ""}
NAMED_BY_THEIR_OWNERS = ("crypto",)  # their exchange says with their next test which they are


def give_claims(apps: Any, _: Any) -> None:
    """Each live connection that was tested holds its account's claim, the oldest where several
    have one account: their scopes may be of different versions. The others, and those of kinds
    that nobody here knows, are tested anew: that claims, or says who has it."""
    found = apps.get_model("connections", "ExecutionConnection").objects
    of_health = apps.get_model("connections", "ConnectionHealth").objects
    of_health.filter(status="UNTESTED").update(needs_test=True)
    tested = found.filter(archived_at=None).exclude(health__status="UNTESTED")
    claimed = set(tested.exclude(claim="").values_list("claim", flat=True))
    rest = tested.filter(claim="").exclude(type__in=NAMED_BY_THEIR_OWNERS)
    for one in rest.order_by("created_at", "id").iterator():
        claim = _claim_of(one)
        if claim and claim not in claimed:
            claimed.add(claim)
            found.filter(pk=one.pk).update(claim=claim)
        else:
            of_health.filter(pk=one.pk).update(test_requested_at=Now())


def _claim_of(one: Any) -> str:
    if one.type not in WITHIN or not one.account:
        return ""
    scope = str(one.settings.get(WITHIN[one.type]) or "").strip().casefold()[:120]
    gateway = _gateway(one.settings.get("host")) if one.type == "ibkr" else ""
    return "|".join((one.type, one.exchange_name, scope, one.account, gateway))[:LONGEST]


def _gateway(host: Any) -> str:
    """Where an account is, unless in the operators' networks: others' word counts at home only."""
    name = str(host or "").strip().rstrip(".").lower()
    try:
        address = ip_address(name)
    except ValueError:
        return name
    return "" if any(address in one for one in settings.FILLCAST_BROKER_HOSTS) else str(address)


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0013_one_connection_an_account"),
    ]

    operations = [
        migrations.AddField(
            model_name="executionconnection",
            name="claim",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                help_text="What its last passed test proved it to be (connections/claims.py).",
                max_length=LONGEST,
            ),
        ),
        migrations.AddField(
            model_name="connectionhealth",
            name="needs_test",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="No mere answer makes it healthy: a test of what it is now must pass"
                " first.",
            ),
        ),
        migrations.RunPython(give_claims, migrations.RunPython.noop),
    ]
