"""Instruments state which other symbols of their pair fit equally well."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("connections", "0002_trading_day")]

    operations = [
        migrations.AddField(
            model_name="instrument",
            name="rivals",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Other symbols of its pair that fit equally well: entries need a symbol "
                "map.",
                max_length=200,
            ),
        ),
        migrations.AddConstraint(
            model_name="instrument",
            constraint=models.CheckConstraint(
                condition=models.Q(is_preferred=True) | models.Q(rivals=""),
                name="rivals_of_preferred",
            ),
        ),
    ]
