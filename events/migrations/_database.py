"""What the models of `events` do not say: who reaches which rows."""

from django.db import migrations

from common.db.row_security import MINE, TENANT, tenant_rows, tenant_set

OF_MY_CHANNEL = "channel_id IN (SELECT public.fillcast_my_channels())"

OPERATIONS = [
    tenant_set(
        "fillcast_my_channels",
        "SETOF bigint",
        f"SELECT c.id FROM public.events_channel c WHERE c.user_id = {TENANT}",
    ),
    tenant_rows("events_event", MINE, write="false", add=MINE),
    tenant_rows("events_notification", MINE),
    tenant_rows("events_channel", MINE),
    tenant_rows("events_delivery", OF_MY_CHANNEL),
    tenant_rows("events_webhookmessage", OF_MY_CHANNEL, add="false"),
    tenant_rows("events_webhookattempt", OF_MY_CHANNEL, add="false"),
    migrations.RunSQL(
        "CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE ON events_channel"
        " FOR EACH ROW EXECUTE FUNCTION public.fillcast_guard_setting('{}')"
    ),
]
