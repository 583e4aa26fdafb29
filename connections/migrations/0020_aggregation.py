"""How long market entries of an account wait to be sent as one order."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("connections", "0019_route_symbols")]

    operations = [
        migrations.AddField(
            model_name="executionconnection",
            name="aggregation_ms",
            field=models.PositiveSmallIntegerField(
                db_default=0,
                default=0,
                help_text=(
                    "Milliseconds for which a market entry waits for others of its symbol and "
                    "side, to be sent with them as one order; 0: each is sent alone."
                ),
                verbose_name="aggregation window",
            ),
        ),
        migrations.AddConstraint(
            model_name="executionconnection",
            constraint=models.CheckConstraint(
                condition=models.Q(("aggregation_ms__lte", 5000)), name="aggregation_is_short"
            ),
        ),
    ]
