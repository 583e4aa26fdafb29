from decimal import Decimal

from django.db import migrations, models

import common.fields


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0042_account_is_demo"),
    ]

    operations = [
        migrations.AddField(
            model_name="subscription",
            name="demo_only",
            field=models.BooleanField(
                db_default=False,
                default=False,
                editable=False,
                help_text="Entries are sent only while the account has virtual money (sample"
                " orders).",
            ),
        ),
        migrations.AddField(
            model_name="instrument",
            name="worth_min",
            field=common.fields.AmountField(
                db_default=Decimal(0),
                decimal_places=15,
                default=Decimal(0),
                help_text="Least worth of an entry, in quote currency; 0: its broker states none.",
                max_digits=38,
            ),
        ),
    ]
