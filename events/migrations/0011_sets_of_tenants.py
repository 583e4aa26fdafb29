"""What is of a tenant's channels is asked of a function (ADR 0061).

my_channels: "user is T" is the policy of channels, which alone decided before.
"""

from django.db import migrations

from common.row_security import TENANT, replace_condition, tenant_set

ALL = "SELECT INSERT UPDATE DELETE"
MY_CHANNELS = f"SELECT c.id FROM public.events_channel c WHERE c.user_id = {TENANT}"


class Migration(migrations.Migration):
    dependencies = [("events", "0010_channel_wants_opened")]
    operations = [
        tenant_set("fillcast_my_channels", "SETOF bigint", MY_CHANNELS),
        *(
            replace_condition(
                table,
                commands,
                now="channel_id IN (SELECT public.fillcast_my_channels())",
                was="channel_id IN (SELECT mine.id FROM events_channel mine)",
            )
            for table, commands in (
                ("events_delivery", ALL),
                ("events_webhookattempt", "SELECT UPDATE DELETE"),
                ("events_webhookmessage", "SELECT UPDATE DELETE"),
            )
        ),
    ]
