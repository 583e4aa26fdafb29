"""What an exit must at least be, where balances are positions."""

from decimal import Decimal

from django.db import migrations

import common.fields

NOTHING = Decimal(0)


class Migration(migrations.Migration):
    dependencies = [("connections", "0025_approved_by_owner")]
    operations = [
        migrations.AddField(
            "instrument",
            "close_min",
            common.fields.AmountField(
                default=NOTHING, db_default=NOTHING,
                help_text="Least quantity of an exit; 0: one step is enough.",
            ),
        ),
        migrations.AddField(
            "instrument",
            "close_worth_min",
            common.fields.AmountField(
                default=NOTHING, db_default=NOTHING,
                help_text="Least worth of an exit, in quote currency.",
            ),
        ),
    ]  # fmt: skip
