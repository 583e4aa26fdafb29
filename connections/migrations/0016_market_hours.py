"""Instruments have the calendar of their exchange and the hours in which they are traded."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("connections", "0015_routes")]
    operations = [
        migrations.AddField(
            model_name="instrument",
            name="exchange",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Calendar of its exchange; empty: unknown, or its broker states the hours.",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="instrument",
            name="hours",
            field=models.JSONField(
                blank=True, help_text="Known spans and open ones, in Unix seconds.", null=True
            ),
        ),
    ]
