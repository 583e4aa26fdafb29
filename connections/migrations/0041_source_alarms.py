"""Whether the silence of a price source has been reported."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0040_epoch_cluster"),
    ]

    operations = [
        migrations.AddField(
            model_name="sourcehealth",
            name="alarmed_at",
            field=models.DateTimeField(
                help_text="Since when its silence has been reported; NULL: it was not.", null=True
            ),
        ),
    ]
