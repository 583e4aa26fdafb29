"""Row-level security: what happened to a tenant, and where they are told."""

from django.db import migrations

from common.row_security import MINE, tenant_rows

MY_CHANNEL = "channel_id IN (SELECT mine.id FROM events_channel mine)"  # itself under its policy


class Migration(migrations.Migration):
    dependencies = [("events", "0001_initial"), ("common", "0001_roles")]
    operations = [
        tenant_rows("events_event", MINE, write="false", add=MINE),
        tenant_rows("events_notification", MINE),
        tenant_rows("events_channel", MINE),
        tenant_rows("events_delivery", MY_CHANNEL),
    ]
