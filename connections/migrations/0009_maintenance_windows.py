"""Maintenance windows that operators enter, for all to read, and their versions."""

import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

from common.history import history_rows
from common.row_security import shared_rows


class Migration(migrations.Migration):

    dependencies = [
        ('connections', '0008_read_after'),
        ('pghistory', '0007_auto_20250421_0444'),
    ]

    operations = [
        migrations.CreateModel(
            name='MaintenanceWindowEvent',
            fields=[
                ('pgh_id', models.AutoField(primary_key=True, serialize=False)),
                ('pgh_created_at', models.DateTimeField(auto_now_add=True)),
                ('pgh_label', models.TextField(help_text='The event label.')),
                ('id', models.BigIntegerField()),
                ('kind', models.CharField(blank=True, help_text='A kind of broker; empty: all.', max_length=20)),
                ('exchange_name', models.CharField(blank=True, max_length=40, verbose_name='exchange')),
                ('host', models.CharField(blank=True, help_text='As under Broker hosts.', max_length=120)),
                ('weekday', models.SmallIntegerField(blank=True, choices=[(0, 'Monday'), (1, 'Tuesday'), (2, 'Wednesday'), (3, 'Thursday'), (4, 'Friday'), (5, 'Saturday'), (6, 'Sunday')], help_text='Empty: every day, or on the date.', null=True)),
                ('on_date', models.DateField(blank=True, null=True, verbose_name='only on')),
                ('starts_at', models.TimeField(help_text="On the zone's clock.")),
                ('zone', models.CharField(default='UTC', help_text='Such as Europe/Berlin.', max_length=60)),
                ('minutes', models.PositiveIntegerField()),
                ('is_closed', models.BooleanField(default=True, help_text='Otherwise only while the account does not answer.', verbose_name='entries wait for its end')),
                ('note', models.CharField(help_text='Shown to the owners of the accounts.', max_length=200)),
                ('is_active', models.BooleanField(default=True, verbose_name='counts')),
            ],
            options={
                'abstract': False,
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='MaintenanceWindow',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(blank=True, help_text='A kind of broker; empty: all.', max_length=20)),
                ('exchange_name', models.CharField(blank=True, max_length=40, verbose_name='exchange')),
                ('host', models.CharField(blank=True, help_text='As under Broker hosts.', max_length=120)),
                ('weekday', models.SmallIntegerField(blank=True, choices=[(0, 'Monday'), (1, 'Tuesday'), (2, 'Wednesday'), (3, 'Thursday'), (4, 'Friday'), (5, 'Saturday'), (6, 'Sunday')], help_text='Empty: every day, or on the date.', null=True)),
                ('on_date', models.DateField(blank=True, null=True, verbose_name='only on')),
                ('starts_at', models.TimeField(help_text="On the zone's clock.")),
                ('zone', models.CharField(default='UTC', help_text='Such as Europe/Berlin.', max_length=60)),
                ('minutes', models.PositiveIntegerField()),
                ('is_closed', models.BooleanField(default=True, help_text='Otherwise only while the account does not answer.', verbose_name='entries wait for its end')),
                ('note', models.CharField(help_text='Shown to the owners of the accounts.', max_length=200)),
                ('is_active', models.BooleanField(default=True, verbose_name='counts')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('minutes__gte', 1), ('minutes__lte', 10080)), name='window_has_a_length', violation_error_message='At least a minute and at most a week.'), models.CheckConstraint(condition=models.Q(('weekday', None), ('on_date', None), _connector='OR'), name='window_weekday_or_date', violation_error_message='Either a weekday or a date.')],
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='maintenancewindow',
            trigger=pgtrigger.compiler.Trigger(name='insert_insert', sql=pgtrigger.compiler.UpsertTriggerSql(func='INSERT INTO "connections_maintenancewindowevent" ("exchange_name", "host", "id", "is_active", "is_closed", "kind", "minutes", "note", "on_date", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "starts_at", "weekday", "zone") VALUES (NEW."exchange_name", NEW."host", NEW."id", NEW."is_active", NEW."is_closed", NEW."kind", NEW."minutes", NEW."note", NEW."on_date", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."starts_at", NEW."weekday", NEW."zone"); RETURN NULL;', hash='24a7f7fe74674bdecdfc8e358caaed7209bfc649', operation='INSERT', pgid='pgtrigger_insert_insert_3a4a8', table='connections_maintenancewindow', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='maintenancewindow',
            trigger=pgtrigger.compiler.Trigger(name='update_update', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD.* IS DISTINCT FROM NEW.*)', func='INSERT INTO "connections_maintenancewindowevent" ("exchange_name", "host", "id", "is_active", "is_closed", "kind", "minutes", "note", "on_date", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "starts_at", "weekday", "zone") VALUES (NEW."exchange_name", NEW."host", NEW."id", NEW."is_active", NEW."is_closed", NEW."kind", NEW."minutes", NEW."note", NEW."on_date", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."starts_at", NEW."weekday", NEW."zone"); RETURN NULL;', hash='3c82eeda9b6debd307e579bd4f39de25ad821e33', operation='UPDATE', pgid='pgtrigger_update_update_78003', table='connections_maintenancewindow', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='maintenancewindow',
            trigger=pgtrigger.compiler.Trigger(name='delete_delete', sql=pgtrigger.compiler.UpsertTriggerSql(func='INSERT INTO "connections_maintenancewindowevent" ("exchange_name", "host", "id", "is_active", "is_closed", "kind", "minutes", "note", "on_date", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "starts_at", "weekday", "zone") VALUES (OLD."exchange_name", OLD."host", OLD."id", OLD."is_active", OLD."is_closed", OLD."kind", OLD."minutes", OLD."note", OLD."on_date", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."starts_at", OLD."weekday", OLD."zone"); RETURN NULL;', hash='6566dbe970529949a02b45d62c715fb463e8f609', operation='DELETE', pgid='pgtrigger_delete_delete_0e7ef', table='connections_maintenancewindow', when='AFTER')),
        ),
        migrations.AddField(
            model_name='maintenancewindowevent',
            name='pgh_context',
            field=models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='pghistory.context'),
        ),
        migrations.AddField(
            model_name='maintenancewindowevent',
            name='pgh_obj',
            field=models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='events', to='connections.maintenancewindow'),
        ),
        shared_rows("connections_maintenancewindow"),
        *history_rows("connections_maintenancewindowevent"),
    ]
