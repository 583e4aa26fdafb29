"""Positions and their stop rules.

Generated from the models; what they do not say is in _database.py.
"""

from decimal import Decimal

import django.db.models.deletion
from django.db import migrations, models

import common.db.functions
import common.fields
from positions.migrations import _database


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('common', '0001_initial'),
        ('connections', '0001_initial'),
        ('signals', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='ExecutionPosition',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('connection', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='positions', to='connections.executionconnection')),
                ('signal', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='positions', to='signals.signal')),
                ('entry_leg', models.CharField(db_default='entry', default='entry', max_length=16)),
                ('pair', models.CharField(max_length=20)),
                ('symbol', models.CharField(max_length=40)),
                ('side', common.fields.ChoiceField(max_length=4)),
                ('quantity', common.fields.AmountField()),
                ('reserved', common.fields.AmountField(db_default=Decimal('0'), default=Decimal('0'))),
                ('opened_quantity', common.fields.AmountField()),
                ('entry_price', common.fields.AmountField()),
                ('sl', common.fields.AmountField(null=True)),
                ('tp', common.fields.AmountField(null=True)),
                ('tp_number', models.SmallIntegerField(db_default=1, default=1)),
                ('sl_guardian', common.fields.ChoiceField(blank=True, db_default='', default='', max_length=6)),
                ('tp_guardian', common.fields.ChoiceField(blank=True, db_default='', default='', max_length=6)),
                ('broker_sl', common.fields.AmountField(null=True)),
                ('broker_sl_quantity', common.fields.AmountField(help_text="How much the broker's stop covers; NULL: all of it.", null=True)),
                ('broker_tp', common.fields.AmountField(null=True)),
                ('levels_reported_at', models.DateTimeField(help_text='When the broker reported which levels it holds; NULL: not since a change.', null=True)),
                ('levels_given_up', models.BooleanField(db_default=False, default=False, help_text='The broker dropped a level twice: we monitor it.')),
                ('levels_dropped_at', models.DateTimeField(help_text='When the broker last dropped a level, since a person or a signal moved one.', null=True)),
                ('level_sync_due_at', models.DateTimeField(help_text='When levels that the broker does not hold are sent (again).', null=True)),
                ('level_sync_attempts', models.SmallIntegerField(db_default=0, default=0)),
                ('protection_suspended', models.BooleanField(db_default=False, default=False, help_text="The broker's levels are removed for an exit.")),
                ('breached_level', models.CharField(blank=True, db_default='', default='', help_text="The broker's level that the price has passed.", max_length=2)),
                ('breached_since', models.DateTimeField(null=True)),
                ('stop_moves_at', common.fields.AmountField(help_text='The price from which its break-even or trailing rule acts.', null=True)),
                ('broker_check_due_at', models.DateTimeField(help_text='From then on the position is read at the broker.', null=True)),
                ('broker_quantity', common.fields.AmountField(help_text='Its quantity at the broker at the last read.', null=True)),
                ('broker_checked_at', models.DateTimeField(help_text='When that read began.', null=True)),
                ('broker_quantity_is_shared', models.BooleanField(db_default=False, default=False, help_text='Parts of other positions or of open entries were deducted from that quantity.')),
                ('levels_frozen_at', models.DateTimeField(help_text='Since when a change of its levels waits for the price to move away.', null=True)),
                ('unprotected_since', models.DateTimeField(null=True)),
                ('unprotected_reason', models.CharField(blank=True, db_default='', default='', max_length=20)),
                ('unprotected_alerted', models.BooleanField(db_default=False, default=False)),
                ('unprotected_seconds', models.DecimalField(db_default=Decimal('0'), decimal_places=1, default=Decimal('0'), help_text='Total machine time without its stop, without the current period.', max_digits=12)),
                ('broker_position_id', models.CharField(blank=True, db_default='', default='', max_length=64)),
                ('price_source', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to='connections.dataconnection')),
                ('pip', common.fields.AmountField()),
                ('conversion_rate', common.fields.AmountField(help_text='Account currency for one unit of the quote currency.')),
                ('realized_pnl', common.fields.AmountField(db_default=Decimal('0'), default=Decimal('0'))),
                ('commission', common.fields.AmountField(db_default=Decimal('0'), default=Decimal('0'), help_text='Account currency, without the fees that have no rate.')),
                ('unconverted_fees', models.JSONField(blank=True, db_default={}, default=dict, help_text='Fees without a conversion rate, by currency; part of no total.')),
                ('swap', common.fields.AmountField(db_default=Decimal('0'), default=Decimal('0'), help_text='Booked for holding it: account currency, below 0 if it was charged.')),
                ('funding', common.fields.AmountField(db_default=Decimal('0'), default=Decimal('0'), help_text='The part of its swap that came apart from fills, as on perpetuals.')),
                ('close_reason', common.fields.ChoiceField(blank=True, db_default='', default='', max_length=14)),
                ('opened_at', models.DateTimeField()),
                ('close_at', models.DateTimeField(help_text='Market time at which it is closed, by its signal.', null=True)),
                ('close_when_signal', models.ForeignKey(db_index=False, help_text='It is closed once its account has done with this signal what is next.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='signals.signal')),
                ('close_when_state', common.fields.ChoiceField(blank=True, db_default='', default='', max_length=16)),
                ('close_when_over', models.BooleanField(db_default=False, default=False, help_text='That cannot happen any more on its account.')),
                ('closed_at', models.DateTimeField(null=True)),
                ('last_activity_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp(), help_text='Machine time of our last activity on it.')),
                ('missing_since', models.DateTimeField(help_text='First clean read in which the broker did not have it.', null=True)),
            ],
            options={
                'indexes': [models.Index(fields=['connection', '-id'], name='position_of_account'), models.Index(condition=models.Q(('quantity__gt', 0)), fields=['connection'], name='position_open'), models.Index(condition=models.Q(('quantity__gt', 0), ('signal__gt', 0)), fields=['signal'], name='position_open_by_signal'), models.Index(condition=models.Q(('quantity__gt', 0), ('price_source__gt', 0)), fields=['price_source', 'pair'], name='position_open_by_source'), models.Index(fields=['closed_at'], name='position_closed_at'), models.Index(condition=models.Q(('closed_at__isnull', False)), fields=['connection', 'closed_at'], name='position_closed_of_account'), models.Index(condition=models.Q(('quantity__gt', 0), ('close_at__isnull', False)), fields=['close_at'], name='position_close_at'), models.Index(condition=models.Q(('quantity__gt', 0), ('close_when_over', False), ('close_when_signal__isnull', False)), fields=['close_when_signal'], name='position_close_when'), models.Index(condition=models.Q(('broker_position_id', ''), _negated=True), fields=['connection', 'broker_position_id'], name='position_of_ticket'), models.Index(condition=models.Q(('broker_check_due_at__isnull', False)), fields=['broker_check_due_at'], name='position_check_due'), models.Index(condition=models.Q(('breached_since__isnull', False)), fields=['id'], name='position_breached'), models.Index(condition=models.Q(('protection_suspended', True)), fields=['id'], name='position_suspended'), models.Index(condition=models.Q(models.Q(('quantity__gt', 0)), ('sl__isnull', False), models.Q(('sl_guardian', ''), models.Q(('broker_sl__isnull', True), ('sl_guardian', 'BROKER')), models.Q(('broker_sl_quantity__lt', models.F('quantity')), ('sl_guardian', 'BROKER')), _connector='OR')), fields=['id'], name='position_without_stop'), models.Index(condition=models.Q(('unprotected_since__isnull', False)), fields=['id'], name='position_unprotected'), models.Index(condition=models.Q(('quantity__gt', 0), ('side', 'BUY'), ('sl__isnull', False)), fields=['price_source', 'pair', 'sl'], name='watch_buy_sl'), models.Index(condition=models.Q(('quantity__gt', 0), ('side', 'SELL'), ('sl__isnull', False)), fields=['price_source', 'pair', 'sl'], name='watch_sell_sl'), models.Index(condition=models.Q(('quantity__gt', 0), ('side', 'BUY'), ('tp__isnull', False)), fields=['price_source', 'pair', 'tp'], name='watch_buy_tp'), models.Index(condition=models.Q(('quantity__gt', 0), ('side', 'SELL'), ('tp__isnull', False)), fields=['price_source', 'pair', 'tp'], name='watch_sell_tp'), models.Index(condition=models.Q(('quantity__gt', 0), ('side', 'BUY'), ('stop_moves_at__isnull', False)), fields=['price_source', 'pair', 'stop_moves_at'], name='stop_moves_buy'), models.Index(condition=models.Q(('quantity__gt', 0), ('side', 'SELL'), ('stop_moves_at__isnull', False)), fields=['price_source', 'pair', 'stop_moves_at'], name='stop_moves_sell')],
                'constraints': [models.UniqueConstraint(fields=('signal', 'connection', 'entry_leg'), name='position_of_entry'), models.CheckConstraint(condition=models.Q(('reserved__gte', 0), ('reserved__lte', models.F('quantity'))), name='reserved_within_quantity'), models.CheckConstraint(condition=models.Q(models.Q(('close_when_signal__isnull', True), ('close_when_state', '')), models.Q(('close_when_signal__isnull', False), ('close_when_state__in', ['FILLED', 'CLOSED', 'CLOSED_AT_STOP', 'CLOSED_AT_TARGET', 'NOT_FILLED'])), _connector='OR'), name='position_exit_condition_is_whole')],
            },
        ),
        migrations.CreateModel(
            name='StopRule',
            fields=[
                ('position', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='stop_rule', serialize=False, to='positions.executionposition')),
                ('break_even_origin', common.fields.ChoiceField(blank=True, db_default='', default='', max_length=12)),
                ('break_even_target', models.SmallIntegerField(null=True)),
                ('break_even_profit', common.fields.AmountField(null=True)),
                ('break_even_offset', common.fields.AmountField(null=True)),
                ('break_even_unit', common.fields.ChoiceField(blank=True, db_default='', default='', max_length=7)),
                ('break_even_done', models.BooleanField(db_default=False, default=False)),
                ('trailing_origin', common.fields.ChoiceField(blank=True, db_default='', default='', max_length=12)),
                ('trailing_distance', common.fields.AmountField(null=True)),
                ('trailing_step', common.fields.AmountField(null=True)),
                ('trailing_activation', common.fields.AmountField(null=True)),
                ('trailing_unit', common.fields.ChoiceField(blank=True, db_default='', default='', max_length=7)),
                ('atr', common.fields.AmountField(help_text='The average true range that counts, if a distance is in ATR; empty: not known.', null=True)),
                ('min_seconds', models.SmallIntegerField(db_default=5, default=5, help_text='Least time between two moves.')),
                ('known_stop', common.fields.AmountField(help_text='The stop when the rule was judged last.', null=True)),
                ('water_mark', common.fields.AmountField(help_text='The best price that the rule has recorded.', null=True)),
                ('water_mark_at', models.DateTimeField(null=True)),
                ('resumes_beyond', common.fields.AmountField(help_text='A person or a signal has set the stop; trailing goes on beyond this price.', null=True)),
                ('due_at', models.DateTimeField(help_text='When it is judged again without a new price.', null=True)),
                ('moves', models.IntegerField(db_default=0, default=0)),
                ('moved_at', models.DateTimeField(null=True)),
                ('moved_by', models.CharField(blank=True, db_default='', default='', max_length=10)),
                ('moved_from', common.fields.AmountField(null=True)),
                ('moved_to', common.fields.AmountField(null=True)),
                ('created_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='stop_rule_due')],
                'constraints': [models.CheckConstraint(condition=models.Q(('break_even_target__isnull', False), ('break_even_profit__isnull', False), ('trailing_distance__gt', 0), _connector='OR'), name='stop_rule_has_effect')],
            },
        ),
        *_database.OPERATIONS,
    ]
