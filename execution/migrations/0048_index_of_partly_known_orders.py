"""Ended orders of an account whose broker is still asked what it executed."""

from django.db import migrations, models

from common.index_migrations import BuildIndex


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("execution", "0047_refusal_of_other_keys")]

    operations = [
        BuildIndex(
            model_name="order",
            index=models.Index(
                condition=models.Q(("done_at__isnull", False), ("lookup_after__isnull", False)),
                fields=["connection"],
                name="order_partly_known",
            ),
        ),
    ]
