"""What CLOSE signals of a part close of entries that had not filled when they came."""

from django.db import migrations

import common.fields


class Migration(migrations.Migration):
    dependencies = [("execution", "0033_voided_fills")]

    operations = [
        migrations.AddField(
            model_name="order",
            name="close_fraction",
            field=common.fields.AmountField(
                help_text="An entry's: of what it fills, the part that CLOSE signals close.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="close_offset",
            field=common.fields.AmountField(
                help_text="What of that part is closed already, or was not to be; base units.",
                null=True,
            ),
        ),
    ]
