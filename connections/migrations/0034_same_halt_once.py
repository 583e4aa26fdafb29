"""The same halt is set once by each user. Of several that are set, the first one stays."""

from django.conf import settings
from django.db import migrations, models

RELEASE_FURTHER_ONES = """
UPDATE connections_killswitch k SET released_at = clock_timestamp()
FROM (
  SELECT id, row_number() OVER (
    PARTITION BY set_by_id, scope, mode, feed_id, user_id, connection_id, broker_type, pair,
      cancel_entries, flatten
    ORDER BY id) AS number
  FROM connections_killswitch
  WHERE released_at IS NULL AND carried_out_at IS NULL AND set_by_id IS NOT NULL) same
WHERE same.id = k.id AND same.number > 1
"""


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0033_halts_of_feeds"),
        ("signals", "0026_sets_of_tenants"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL(RELEASE_FURTHER_ONES, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="killswitch",
            constraint=models.UniqueConstraint(
                condition=models.Q(released_at=None, carried_out_at=None, set_by__isnull=False),
                fields=(
                    *("set_by", "scope", "mode", "feed", "user", "connection", "broker_type"),
                    *("pair", "cancel_entries", "flatten"),
                ),
                name="same_halt_once_a_person",
                nulls_distinct=False,
            ),
        ),
    ]
