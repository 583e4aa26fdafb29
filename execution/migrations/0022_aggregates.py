"""Orders that are sent as one."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0021_position_leg_valid")]

    operations = [
        migrations.AddField(
            model_name="order",
            name="aggregate_id",
            field=models.BigIntegerField(
                blank=True,
                editable=False,
                help_text=(
                    "The first of the orders that it was sent with as one; the broker knows that "
                    "one's client order id."
                ),
                null=True,
            ),
        ),
    ]
