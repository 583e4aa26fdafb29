"""One claim an account, and one connection of each owner. After the rows were written: no index can
be made beside the triggers that they leave pending."""

from django.db import migrations, models
from django.db.models.functions import Coalesce


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0014_claims"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="executionconnection",
            name="one_connection_an_account",
        ),
        migrations.AddConstraint(
            model_name="executionconnection",
            constraint=models.UniqueConstraint(
                "type",
                "exchange_name",
                "account",
                "account_scope",
                Coalesce("user_id", "admin_id"),
                condition=models.Q(("archived_at__isnull", True)),
                name="one_connection_an_account",
            ),
        ),
        migrations.AddConstraint(
            model_name="executionconnection",
            constraint=models.UniqueConstraint(
                condition=models.Q(("archived_at__isnull", True), models.Q(("claim", ""), _negated=True)),
                fields=("claim",),
                name="one_claim_an_account",
            ),
        ),
    ]
