"""The indexes of what is open by signal and by source answer only queries that ask for them.

See `positions.models.ExecutionPosition.Meta.indexes`."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("positions", "0020_keys_of_the_order")]

    operations = [
        migrations.RemoveIndex(model_name="executionposition", name="position_open_of_signal"),
        migrations.RemoveIndex(model_name="executionposition", name="position_open_of_source"),
        migrations.AddIndex(
            model_name="executionposition",
            index=models.Index(
                condition=models.Q(("quantity__gt", 0), ("signal__gt", 0)),
                fields=["signal"],
                name="position_open_of_signal",
            ),
        ),
        migrations.AddIndex(
            model_name="executionposition",
            index=models.Index(
                condition=models.Q(("quantity__gt", 0), ("price_source__gt", 0)),
                fields=["price_source", "pair"],
                name="position_open_of_source",
            ),
        ),
    ]
