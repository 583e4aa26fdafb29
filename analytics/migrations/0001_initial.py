"""Results, costs, records of feeds, preflights and quality of execution.

Generated from the models; what they do not say is in _database.py.
"""

from decimal import Decimal

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import common.db.functions
import common.fields
from analytics.migrations import _database


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('common', '0001_initial'),
        ('connections', '0001_initial'),
        ('positions', '0001_initial'),
        ('signals', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='AnalyticsDaily',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('connection', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='analytics', to='connections.executionconnection')),
                ('day', models.DateField(help_text="Trading day in the preset's zone; it ends at 17:00 there.")),
                ('trades', models.IntegerField(default=0)),
                ('wins', models.IntegerField(default=0)),
                ('losses', models.IntegerField(default=0)),
                ('gross_profit', common.fields.AmountField(default=Decimal('0'))),
                ('gross_loss', common.fields.AmountField(default=Decimal('0'), help_text='A positive number.')),
                ('commission', common.fields.AmountField(default=Decimal('0'))),
                ('swap', common.fields.AmountField(db_default=Decimal('0'), default=Decimal('0'), help_text='Below 0 if it was charged.')),
                ('unconverted_fees', models.JSONField(blank=True, db_default={}, default=dict, help_text='Fees for which no rate was quoted, by currency; in no sum.')),
                ('total_pnl', common.fields.AmountField(default=Decimal('0'), help_text='Net of commission and swap.')),
                ('highest_prefix', common.fields.AmountField(default=Decimal('0'))),
                ('lowest_prefix', common.fields.AmountField(default=Decimal('0'))),
                ('max_drawdown', common.fields.AmountField(default=Decimal('0'), help_text='A positive number.')),
                ('duration_seconds', common.fields.AmountField(default=Decimal('0'), help_text='Of all trades together.')),
                ('computed_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
            ],
            options={
                'verbose_name_plural': 'analytics (daily)',
                'ordering': ('-day', 'connection_id'),
                'indexes': [models.Index(fields=['day'], name='analytics_day')],
                'constraints': [models.UniqueConstraint(fields=('connection', 'day'), name='one_row_a_day')],
            },
        ),
        migrations.CreateModel(
            name='TradeCost',
            fields=[
                ('position', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='cost', serialize=False, to='positions.executionposition')),
                ('connection', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='connections.executionconnection')),
                ('entry_spread', common.fields.AmountField(help_text="Half of the minute's mean spread at entry.", null=True)),
                ('exit_spread', common.fields.AmountField(help_text="Half of the minute's mean spread at exit.", null=True)),
                ('slippage', common.fields.AmountField(help_text='Of its orders whose slippage is known.', null=True)),
                ('computed_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
            ],
        ),
        migrations.CreateModel(
            name='SignalQuality',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('signal', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='signals.signal')),
                ('is_paper', models.BooleanField(default=False)),
                ('persons', models.IntegerField()),
                ('unit', models.CharField(blank=True, help_text='Empty: the persons differ.', max_length=7)),
                ('slippage', common.fields.AmountField(help_text='In the unit, + is worse.', null=True)),
                ('bps', common.fields.AmountField(null=True)),
                ('to_wire_ms', common.fields.AmountField(null=True)),
                ('to_fill_ms', common.fields.AmountField(null=True)),
                ('computed_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
            ],
            options={
                'verbose_name_plural': 'signal quality',
                'constraints': [models.UniqueConstraint(fields=('signal', 'is_paper'), name='one_quality_of_money')],
            },
        ),
        migrations.CreateModel(
            name='ExecutionDay',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('part', common.fields.ChoiceField(max_length=7)),
                ('is_paper', models.BooleanField()),
                ('is_exit', models.BooleanField()),
                ('day', models.DateField(help_text='UTC, machine time, on which the orders were written.')),
                ('value', models.CharField(blank=True, max_length=40)),
                ('currency', models.CharField(blank=True, help_text='Empty: never read.', max_length=16)),
                ('orders', models.BigIntegerField(default=0)),
                ('skipped', models.BigIntegerField(default=0)),
                ('denied', models.BigIntegerField(default=0)),
                ('unsent', models.BigIntegerField(default=0, help_text='Waiting, or ended before they were sent.')),
                ('failed', models.BigIntegerField(default=0)),
                ('filled', models.BigIntegerField(default=0, help_text='At least in part.')),
                ('cancelled', models.BigIntegerField(default=0, help_text='Sent, nothing filled.')),
                ('expired', models.BigIntegerField(default=0, help_text='Sent, nothing filled.')),
                ('rejected', models.BigIntegerField(default=0)),
                ('unknown', models.BigIntegerField(default=0)),
                ('working', models.BigIntegerField(default=0, help_text='At the broker, nothing filled yet.')),
                ('limited', models.BigIntegerField(default=0, help_text='Filled, with a slippage limit.')),
                ('beyond_limit', models.BigIntegerField(default=0, help_text='With a fill beyond that limit.')),
                ('pips_count', models.BigIntegerField(default=0)),
                ('pips_sum', common.fields.AmountField(default=Decimal('0'))),
                ('pips_squares', models.DecimalField(decimal_places=18, default=Decimal('0'), max_digits=60)),
                ('pips_largest', common.fields.AmountField(help_text='The largest absolute value.', null=True)),
                ('bps_count', models.BigIntegerField(default=0)),
                ('bps_sum', common.fields.AmountField(default=Decimal('0'))),
                ('bps_squares', models.DecimalField(decimal_places=18, default=Decimal('0'), max_digits=60)),
                ('bps_largest', common.fields.AmountField(null=True)),
                ('commission', common.fields.AmountField(default=Decimal('0'))),
                ('unconverted', models.BigIntegerField(default=0, help_text='Orders with fees without a rate.')),
                ('missed', models.BigIntegerField(default=0, help_text='Entries that others filled.')),
                ('missed_priced', models.BigIntegerField(default=0)),
                ('missed_cost', common.fields.AmountField(default=Decimal('0'), help_text='What others earned of these.')),
                ('sketch_keys', django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), default=list, size=None)),
                ('sketch_counts', django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), default=list, size=None)),
                ('newest_line', models.BigIntegerField(help_text='Of the execution log, when computed.', null=True)),
                ('seconds', models.FloatField(default=0, help_text='That the computation took.')),
                ('computed_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('part', 'is_paper', 'is_exit', 'day', 'value', 'currency'), name='one_execution_day')],
            },
        ),
        migrations.CreateModel(
            name='FeedTrade',
            fields=[
                ('signal', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='+', serialize=False, to='signals.signal')),
                ('feed', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='signals.feed')),
                ('pair', models.CharField(max_length=20)),
                ('direction', models.CharField(max_length=4)),
                ('published_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(help_text='Market clock.', null=True)),
                ('state', common.fields.ChoiceField(max_length=11)),
                ('basis', common.fields.ChoiceField(blank=True, max_length=6)),
                ('entry_price', common.fields.AmountField(null=True)),
                ('exit_price', common.fields.AmountField(help_text='The mean of its exits, by their parts.', null=True)),
                ('percent', common.fields.AmountField(help_text='Of the entry price; what is open at its mark.', null=True)),
                ('r', common.fields.AmountField(help_text='In distances from the entry to its stop.', null=True)),
                ('marks', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=20), default=list, size=None)),
                ('subscribers', models.IntegerField(default=0, help_text='Persons who traded it for real.')),
                ('real_low', common.fields.AmountField(help_text='25th percentile of their results, percent.', null=True)),
                ('real_median', common.fields.AmountField(null=True)),
                ('real_high', common.fields.AmountField(help_text='75th percentile.', null=True)),
                ('slippage', common.fields.AmountField(help_text='Their median, basis points, + is worse.', null=True)),
                ('progress', models.JSONField(help_text='How far it was followed.')),
                ('followed_until', models.DateTimeField(help_text='Market clock.')),
                ('is_final', models.BooleanField(default=False, help_text='It is not computed again.')),
            ],
            options={
                'default_permissions': (),
                'indexes': [models.Index(fields=['feed', '-published_at', '-signal'], name='feed_trade_newest'), models.Index(fields=['feed', 'ended_at', 'signal'], name='feed_trade_in_order'), models.Index(condition=models.Q(('is_final', False)), fields=['feed'], name='feed_trade_unfinished')],
            },
        ),
        migrations.CreateModel(
            name='FeedRecord',
            fields=[
                ('feed', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='+', serialize=False, to='signals.feed')),
                ('until', models.DateTimeField(help_text='Market clock: later prices and signals are not in it.')),
                ('followers', models.IntegerField(help_text='Persons with a live account that takes it now.')),
                ('figures', models.JSONField()),
                ('delayed', models.JSONField(db_default={}, default=dict, help_text='The same as of 24 hours before, for those who do not take the feed; empty: not computed.')),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='Preflight',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('connection', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='connections.executionconnection')),
                ('feed', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='signals.feed')),
                ('signals_wanted', models.IntegerField(help_text="How many of the feed's last signals.")),
                ('multiplier', common.fields.AmountField(default=Decimal('1'), help_text='Of the subscription it is asked for.')),
                ('directions', models.CharField(max_length=4)),
                ('symbol_map', models.JSONField(blank=True, default=dict)),
                ('state', common.fields.ChoiceField(default='waiting', max_length=7)),
                ('requested_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
                ('claimed_until', models.DateTimeField(help_text='Then another worker may take it.', null=True)),
                ('tries', models.SmallIntegerField(default=0, help_text='Also fences a worker that was too slow.')),
                ('signals_done', models.IntegerField(default=0)),
                ('signals_total', models.IntegerField(default=0)),
                ('result', models.JSONField(help_text='`preflight/summary.py`.', null=True)),
                ('ready_at', models.DateTimeField(null=True)),
            ],
            options={
                'default_permissions': (),
                'indexes': [models.Index(fields=['requested_at'], name='preflight_requested')],
                'constraints': [models.UniqueConstraint(fields=('connection', 'feed'), name='one_preflight')],
            },
        ),
        *_database.OPERATIONS,
    ]
