"""Who has proven that an account is his; what is untested needs a test."""

from typing import Any

from django.db import migrations, models

from common.errors import FillcastError, MisconfiguredError
from connections.account_settings import LONGEST_CLAIM, claim_of


def give_claims(apps: Any, _: Any) -> None:
    """Each live connection that was tested holds its account's claim: until now there was only one
    of each."""
    of = {name: apps.get_model("connections", name).objects for name in (
        "ExecutionConnection", "ConnectionHealth",
    )}  # fmt: skip
    of["ConnectionHealth"].filter(status="UNTESTED").update(needs_test=True)
    tested = of["ExecutionConnection"].filter(archived_at=None).exclude(health__status="UNTESTED")
    for one in tested.iterator():
        try:
            claim = claim_of(
                one.type, one.exchange_name, one.user_id or one.admin_id, one.settings,
                account=one.account,
            )  # fmt: skip
        except (FillcastError, ImportError, MisconfiguredError):
            continue  # nobody here knows its kind: its next test claims
        if claim:
            of["ExecutionConnection"].filter(pk=one.pk).update(claim=claim)


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
                max_length=LONGEST_CLAIM,
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
