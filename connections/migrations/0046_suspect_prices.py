"""Which pairs of a source have a suspect quote now, or the prices of a fallback."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("connections", "0045_fallback_sources")]

    operations = [
        migrations.AddField(
            model_name="sourcehealth",
            name="suspects",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=20),
                db_default=[],
                default=list,
                help_text="The pairs of which a quote is suspect now: it counts for nothing yet.",
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="sourcehealth",
            name="suspect_since",
            field=models.DateTimeField(help_text="Since when there is one.", null=True),
        ),
        migrations.AddField(
            model_name="sourcehealth",
            name="on_fallback",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=20),
                db_default=[],
                default=list,
                help_text="The pairs that have the prices of a fallback now.",
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="sourcehealth",
            name="fallback_names",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Of those fallbacks.",
                max_length=220,
            ),
        ),
    ]
