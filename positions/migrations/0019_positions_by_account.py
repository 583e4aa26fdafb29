"""The positions of an account by number, for lists; built while the table is used."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("positions", "0018_sets_of_tenants")]

    operations = [
        AddIndexConcurrently(
            model_name="executionposition",
            index=models.Index(fields=["connection", "-id"], name="position_of_account"),
        ),
    ]
