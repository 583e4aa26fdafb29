"""The part of a position's swap that is funding. A constant default: no table rewrite."""

from decimal import Decimal

from django.db import migrations

import common.fields


class Migration(migrations.Migration):
    dependencies = [("positions", "0016_swap")]

    operations = [
        migrations.AddField(
            model_name="executionposition",
            name="funding",
            field=common.fields.AmountField(
                db_default=Decimal("0"),
                decimal_places=18,
                default=Decimal("0"),
                help_text="The part of its swap that came apart from fills, as on perpetuals.",
                max_digits=38,
            ),
        ),
    ]
