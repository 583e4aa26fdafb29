"""The signals of a feed by number, for lists; not twice by feed and by what they refer to."""

import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


def without_own_index(field: str, index: str, **options: object) -> migrations.RunSQL:
    """Return the removal of a foreign key's own index; the constraint stays as it is."""
    key: models.ForeignKey = models.ForeignKey(
        on_delete=django.db.models.deletion.PROTECT, db_index=False, **options
    )
    return migrations.RunSQL(
        f"DROP INDEX CONCURRENTLY IF EXISTS {index}",
        f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {index} ON signals_signal ({field}_id)",
        state_operations=[migrations.AlterField("signal", field, key)],
    )


class Migration(migrations.Migration):
    atomic = False  # the table is used meanwhile

    dependencies = [("signals", "0026_sets_of_tenants")]
    operations = [
        AddIndexConcurrently(
            model_name="signal",
            index=models.Index(fields=["feed", "-id"], name="signal_of_feed"),
        ),
        without_own_index(
            "feed", "signals_signal_feed_id_d6d3aeb9", related_name="signals", to="signals.feed"
        ),
        without_own_index(
            "refers_to", "signals_signal_refers_to_id_741e03d7",
            blank=True, null=True, related_name="followers", to="signals.signal",
        ),
    ]  # fmt: skip
