"""When one order ends, instead of at its signal's end."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0024_order_levels")]

    operations = [
        migrations.AddField(
            model_name="order",
            name="own_valid_until",
            field=models.DateTimeField(
                help_text=("When it ends, market time, if changed; NULL: its signal's end counts."),
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="expires_at",
            field=models.DateTimeField(
                help_text="GTD: the expiry that its broker was given with it.", null=True
            ),
        ),
        migrations.AddField(
            model_name="entrychange",
            name="valid_until",
            field=models.DateTimeField(
                help_text="When the order ends, market time; NULL: it stays.", null=True
            ),
        ),
        migrations.AddField(
            model_name="entrychange",
            name="old_valid_until",
            field=models.DateTimeField(null=True),
        ),
    ]
