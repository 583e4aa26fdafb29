"""Links of results: final results of signals are sealed in the record, too."""

from django.db import migrations, models

from signals.record_sql import install_results


class Migration(migrations.Migration):
    dependencies = [
        ("signals", "0024_alert_sources"),
    ]

    operations = [
        migrations.AlterField(
            model_name="recordlink",
            name="kind",
            field=models.CharField(
                choices=[
                    ("OPEN", "Opened"),
                    ("MODIFY", "Modified"),
                    ("CLOSE", "Closed"),
                    ("CANCEL", "Cancelled"),
                    ("RESULT", "Result"),
                ],
                max_length=6,
            ),
        ),
        migrations.AlterField(
            model_name="recordlink",
            name="terms",
            field=models.JSONField(
                help_text="The signal as published, with the market of that moment; or its result."
            ),
        ),
        migrations.AlterField(
            model_name="recordlink",
            name="sealed_later",
            field=models.BooleanField(
                default=False,
                help_text="It was published, or its result final, before such links were sealed.",
            ),
        ),
        install_results(),
    ]
