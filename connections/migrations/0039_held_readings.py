"""How many readings of an account were held back, and the last of them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("connections", "0038_held_quotes")]

    operations = [
        migrations.AddField(
            model_name="accountsnapshot",
            name="held_readings",
            field=models.BigIntegerField(
                default=0,
                db_default=0,
                help_text="Readings far from the one before that no second reading confirmed.",
            ),
        ),
        migrations.AddField(
            model_name="accountsnapshot",
            name="last_held_reading",
            field=models.CharField(
                blank=True,
                default="",
                db_default="",
                help_text="The last of them.",
                max_length=160,
            ),
        ),
    ]
