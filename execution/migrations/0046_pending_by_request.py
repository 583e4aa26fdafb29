"""The index of what is due answers only queries that ask for it: see `execution.models.PENDING`."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0045_keys_of_the_order")]

    operations = [
        migrations.RemoveIndex(model_name="order", name="order_due"),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(
                condition=models.Q(("id__gt", 0), ("status", "PENDING")),
                fields=["due_at"],
                name="order_due",
            ),
        ),
    ]
