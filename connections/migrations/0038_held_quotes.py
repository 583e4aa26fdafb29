"""How many quotes of a source were held back, and the last of them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("connections", "0037_instrument_price_steps")]

    operations = [
        migrations.AddField(
            model_name="sourcehealth",
            name="held_back",
            field=models.BigIntegerField(
                default=0,
                db_default=0,
                help_text="Quotes far from the one before that were held back.",
            ),
        ),
        migrations.AddField(
            model_name="sourcehealth",
            name="last_held",
            field=models.CharField(
                blank=True,
                default="",
                db_default="",
                help_text="The last of them.",
                max_length=120,
            ),
        ),
    ]
