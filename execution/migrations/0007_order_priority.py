"""What an order's priority means."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0006_slice_plans")]

    operations = [
        migrations.AlterField(
            model_name="order",
            name="priority",
            field=models.SmallIntegerField(
                db_default=5,
                default=5,
                help_text="The lowest first: 1 exits, 2 by hand, 4 to 6 the class of the subscription.",
            ),
        ),
    ]
