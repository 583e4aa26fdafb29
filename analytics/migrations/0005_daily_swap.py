"""Swap in the daily results. Earlier days have none: no trade has a swap yet."""

from decimal import Decimal

from django.db import migrations

import common.fields


class Migration(migrations.Migration):
    dependencies = [("analytics", "0004_preflight")]

    operations = [
        migrations.AddField(
            model_name="analyticsdaily",
            name="swap",
            field=common.fields.AmountField(
                db_default=Decimal("0"),
                decimal_places=18,
                default=Decimal("0"),
                help_text="Below 0 if it was charged.",
                max_digits=38,
            ),
        ),
        migrations.AlterField(
            model_name="analyticsdaily",
            name="total_pnl",
            field=common.fields.AmountField(
                decimal_places=18,
                default=Decimal("0"),
                help_text="Net of commission and swap.",
                max_digits=38,
            ),
        ),
    ]
