"""The former tables of the audit trail go: config/0002 took their lines over."""

import pgtrigger.migrations
from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('config', '0002_audit_trail'),
        ('connections', '0027_one_audit_trail'),
        ('users', '0005_try_count'),
    ]

    operations = [
        migrations.RemoveField(
            model_name='apikeyevent',
            name='pgh_context',
        ),
        migrations.RemoveField(
            model_name='apikeyevent',
            name='pgh_obj',
        ),
        migrations.RemoveField(
            model_name='apikeyevent',
            name='user',
        ),
        migrations.RemoveField(
            model_name='scheduleevent',
            name='clocked',
        ),
        migrations.RemoveField(
            model_name='scheduleevent',
            name='crontab',
        ),
        migrations.RemoveField(
            model_name='scheduleevent',
            name='interval',
        ),
        migrations.RemoveField(
            model_name='scheduleevent',
            name='pgh_context',
        ),
        migrations.RemoveField(
            model_name='scheduleevent',
            name='pgh_obj',
        ),
        migrations.RemoveField(
            model_name='scheduleevent',
            name='solar',
        ),
        migrations.RemoveField(
            model_name='userevent',
            name='pgh_context',
        ),
        migrations.RemoveField(
            model_name='userevent',
            name='pgh_obj',
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name='schedule',
            name='insert_insert',
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name='schedule',
            name='update_update',
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name='schedule',
            name='delete_delete',
        ),
        migrations.DeleteModel(
            name='Schedule',
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name='apikey',
            name='insert_insert',
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name='apikey',
            name='update_update',
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name='apikey',
            name='delete_delete',
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name='user',
            name='insert_insert',
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name='user',
            name='update_update',
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name='user',
            name='delete_delete',
        ),
        migrations.DeleteModel(
            name='ApiKeyEvent',
        ),
        migrations.DeleteModel(
            name='ScheduleEvent',
        ),
        migrations.DeleteModel(
            name='UserEvent',
        ),
        migrations.RunSQL(
            [
                "REVOKE ALL ON pghistory_context FROM fillcast_web, fillcast_trade",
                "GRANT SELECT ON pghistory_context TO fillcast_web, fillcast_trade",
            ],
            migrations.RunSQL.noop,
        ),
    ]
