"""The index by which a symbol without a currency is completed, built while lists are stored."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("connections", "0034_instrument_books")]
    operations = [
        AddIndexConcurrently(
            model_name="instrument",
            index=models.Index(
                models.Func(
                    models.F("pair"), models.Value("/"), models.Value(1), function="split_part"
                ),
                name="instrument_base",
                condition=models.Q(is_preferred=True),
            ),
        ),
    ]
