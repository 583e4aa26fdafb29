"""Owners are notified when their password was changed."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('events', '0013_index_of_confirmations'),
    ]

    operations = [
        migrations.AlterField(
            model_name='event',
            name='kind',
            field=models.CharField(choices=[('signal.published', 'Signal Published'), ('signal.incomplete', 'Signal Incomplete'), ('order.skipped', 'Order Skipped'), ('order.placed', 'Order Placed'), ('order.filled', 'Order Filled'), ('order.partially_filled', 'Order Partially Filled'), ('order.denied', 'Order Denied'), ('order.rejected', 'Order Rejected'), ('order.failed', 'Order Failed'), ('order.unknown', 'Order Unknown'), ('order.risen', 'Order Risen'), ('order.stuck', 'Order Stuck'), ('order.limbo', 'Order Limbo'), ('order.cancelled', 'Order Cancelled'), ('order.expired', 'Order Expired'), ('position.opened', 'Position Opened'), ('position.closed', 'Position Closed'), ('position.unprotected', 'Position Unprotected'), ('exit.delayed', 'Exit Delayed'), ('slippage.alert', 'Slippage Alert'), ('connection.error', 'Connection Error'), ('connection.silent', 'Connection Silent'), ('connection.recovered', 'Connection Recovered'), ('host.away', 'Host Away'), ('host.back', 'Host Back'), ('drift.found', 'Drift Found'), ('api_key.ends_soon', 'Api Key Ends Soon'), ('api_key.ended', 'Api Key Ended'), ('password.changed', 'Password Changed'), ('audit.failed', 'Audit Failed'), ('audit_trail.broken', 'Audit Trail Broken'), ('audit_trail.intact', 'Audit Trail Intact'), ('scheduler.late', 'Scheduler Late'), ('scheduler.back', 'Scheduler Back'), ('kill_switch.changed', 'Kill Switch'), ('channel.test', 'Channel Test'), ('channel.confirmation', 'Channel Confirmation')], max_length=40),
        ),
        migrations.AlterField(
            model_name='notification',
            name='kind',
            field=models.CharField(choices=[('signal.published', 'Signal Published'), ('signal.incomplete', 'Signal Incomplete'), ('order.skipped', 'Order Skipped'), ('order.placed', 'Order Placed'), ('order.filled', 'Order Filled'), ('order.partially_filled', 'Order Partially Filled'), ('order.denied', 'Order Denied'), ('order.rejected', 'Order Rejected'), ('order.failed', 'Order Failed'), ('order.unknown', 'Order Unknown'), ('order.risen', 'Order Risen'), ('order.stuck', 'Order Stuck'), ('order.limbo', 'Order Limbo'), ('order.cancelled', 'Order Cancelled'), ('order.expired', 'Order Expired'), ('position.opened', 'Position Opened'), ('position.closed', 'Position Closed'), ('position.unprotected', 'Position Unprotected'), ('exit.delayed', 'Exit Delayed'), ('slippage.alert', 'Slippage Alert'), ('connection.error', 'Connection Error'), ('connection.silent', 'Connection Silent'), ('connection.recovered', 'Connection Recovered'), ('host.away', 'Host Away'), ('host.back', 'Host Back'), ('drift.found', 'Drift Found'), ('api_key.ends_soon', 'Api Key Ends Soon'), ('api_key.ended', 'Api Key Ended'), ('password.changed', 'Password Changed'), ('audit.failed', 'Audit Failed'), ('audit_trail.broken', 'Audit Trail Broken'), ('audit_trail.intact', 'Audit Trail Intact'), ('scheduler.late', 'Scheduler Late'), ('scheduler.back', 'Scheduler Back'), ('kill_switch.changed', 'Kill Switch'), ('channel.test', 'Channel Test'), ('channel.confirmation', 'Channel Confirmation')], max_length=40),
        ),
    ]
