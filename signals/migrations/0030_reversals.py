"""Whether a CLOSE is a part of a reversal. The rows of before are none."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("signals", "0029_feed_lock"),
    ]

    operations = [
        migrations.AddField(
            model_name="signal",
            name="is_reversal",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="CLOSE: its sender opens the other side with it.",
            ),
        ),
    ]
