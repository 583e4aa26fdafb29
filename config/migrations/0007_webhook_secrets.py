"""The audit trail keeps no secret of a signed webhook."""

from django.db import migrations

from common.audit_trail_sql import track

TABLE = "events_channel"
WRITTEN_OFTEN = ("consecutive_failures", "last_error", "last_sent_at", "backoff_until")
IGNORED = (*WRITTEN_OFTEN, "test_event_id")
BEFORE, SECRETS = ("url_sealed",), ("url_sealed", "secret_sealed", "previous_secret_sealed")


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0006_telegram"),
        ("events", "0007_webhooks_and_quiet_hours"),
    ]
    operations = [
        migrations.RunSQL(
            track(TABLE, secrets=BEFORE, ignored=WRITTEN_OFTEN).reverse_sql,
            track(TABLE, secrets=BEFORE, ignored=WRITTEN_OFTEN).sql,
        ),
        track(TABLE, secrets=SECRETS, ignored=IGNORED),
    ]
