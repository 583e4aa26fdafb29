"""The smallest step of a price, as the broker lists it: it may be several units of a digit."""

from decimal import Decimal

from django.db import migrations

import common.fields


class Migration(migrations.Migration):
    dependencies = [("connections", "0031_trading_disabled_and_errored")]
    operations = [
        migrations.AddField(
            "instrument",
            "tick",
            common.fields.AmountField(
                default=Decimal(0), db_default=Decimal(0),
                help_text="Smallest step of its price; 0: one unit of the last digit.",
            ),
        ),
    ]  # fmt: skip
