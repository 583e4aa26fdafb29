"""E-mail channels prove their address.

Those that are there already go on for 14 days, so that no alarm is lost by an update: each gets the
message with the link as soon as the processes run, and nothing more after that time unless it was
confirmed. Other channels need no proof.
"""

from django.db import migrations, models


EXISTING = (
    "UPDATE events_channel SET confirmed_at = now() WHERE url_shown NOT LIKE 'mailto:%'",
    "UPDATE events_channel SET confirm_by = now() + interval '14 days',"
    " confirmation_requested_at = now() WHERE url_shown LIKE 'mailto:%'",
    "INSERT INTO events_event (kind, user_id, payload)"
    " SELECT 'channel.confirmation', user_id, jsonb_build_object('channel_id', id)"
    " FROM events_channel WHERE url_shown LIKE 'mailto:%' AND is_active",
)


class Migration(migrations.Migration):

    dependencies = [
        ('events', '0011_orders_skipped_and_placed'),
    ]

    operations = [
        migrations.AlterField(
            model_name='event',
            name='kind',
            field=models.CharField(choices=[('signal.published', 'Signal Published'), ('signal.incomplete', 'Signal Incomplete'), ('order.skipped', 'Order Skipped'), ('order.placed', 'Order Placed'), ('order.filled', 'Order Filled'), ('order.partially_filled', 'Order Partially Filled'), ('order.denied', 'Order Denied'), ('order.rejected', 'Order Rejected'), ('order.failed', 'Order Failed'), ('order.unknown', 'Order Unknown'), ('order.risen', 'Order Risen'), ('order.stuck', 'Order Stuck'), ('order.limbo', 'Order Limbo'), ('order.cancelled', 'Order Cancelled'), ('order.expired', 'Order Expired'), ('position.opened', 'Position Opened'), ('position.closed', 'Position Closed'), ('position.unprotected', 'Position Unprotected'), ('exit.delayed', 'Exit Delayed'), ('slippage.alert', 'Slippage Alert'), ('connection.error', 'Connection Error'), ('connection.silent', 'Connection Silent'), ('connection.recovered', 'Connection Recovered'), ('host.away', 'Host Away'), ('host.back', 'Host Back'), ('drift.found', 'Drift Found'), ('api_key.ends_soon', 'Api Key Ends Soon'), ('api_key.ended', 'Api Key Ended'), ('audit.failed', 'Audit Failed'), ('audit_trail.broken', 'Audit Trail Broken'), ('audit_trail.intact', 'Audit Trail Intact'), ('scheduler.late', 'Scheduler Late'), ('scheduler.back', 'Scheduler Back'), ('kill_switch.changed', 'Kill Switch'), ('channel.test', 'Channel Test'), ('channel.confirmation', 'Channel Confirmation')], max_length=40),
        ),
        migrations.AlterField(
            model_name='notification',
            name='kind',
            field=models.CharField(choices=[('signal.published', 'Signal Published'), ('signal.incomplete', 'Signal Incomplete'), ('order.skipped', 'Order Skipped'), ('order.placed', 'Order Placed'), ('order.filled', 'Order Filled'), ('order.partially_filled', 'Order Partially Filled'), ('order.denied', 'Order Denied'), ('order.rejected', 'Order Rejected'), ('order.failed', 'Order Failed'), ('order.unknown', 'Order Unknown'), ('order.risen', 'Order Risen'), ('order.stuck', 'Order Stuck'), ('order.limbo', 'Order Limbo'), ('order.cancelled', 'Order Cancelled'), ('order.expired', 'Order Expired'), ('position.opened', 'Position Opened'), ('position.closed', 'Position Closed'), ('position.unprotected', 'Position Unprotected'), ('exit.delayed', 'Exit Delayed'), ('slippage.alert', 'Slippage Alert'), ('connection.error', 'Connection Error'), ('connection.silent', 'Connection Silent'), ('connection.recovered', 'Connection Recovered'), ('host.away', 'Host Away'), ('host.back', 'Host Back'), ('drift.found', 'Drift Found'), ('api_key.ends_soon', 'Api Key Ends Soon'), ('api_key.ended', 'Api Key Ended'), ('audit.failed', 'Audit Failed'), ('audit_trail.broken', 'Audit Trail Broken'), ('audit_trail.intact', 'Audit Trail Intact'), ('scheduler.late', 'Scheduler Late'), ('scheduler.back', 'Scheduler Back'), ('kill_switch.changed', 'Kill Switch'), ('channel.test', 'Channel Test'), ('channel.confirmation', 'Channel Confirmation')], max_length=40),
        ),
        migrations.AddField(
            model_name='channel',
            name='confirmed_at',
            field=models.DateTimeField(blank=True, help_text='When an e-mail address was proven.', null=True),
        ),
        migrations.AddField(
            model_name='channel',
            name='confirmation_requested_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='channel',
            name='confirm_by',
            field=models.DateTimeField(blank=True, help_text='A channel of before gets messages until then.', null=True),
        ),
        migrations.RunSQL(EXISTING, migrations.RunSQL.noop),
    ]
