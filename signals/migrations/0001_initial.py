"""Feeds, signals, alerts and records.

Generated from the models; what they do not say is in _database.py.
"""

import uuid
from decimal import Decimal

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import common.db.functions
import common.db.row_faults
import common.fields
from signals.migrations import _database


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('common', '0001_initial'),
        ('users', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Feed',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.SlugField(max_length=60, unique=True)),
                ('name', models.CharField(max_length=200)),
                ('description', models.TextField(blank=True)),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='feeds', to=settings.AUTH_USER_MODEL)),
                ('is_public', models.BooleanField(default=True, help_text='Tenants may find it and subscribe to it.')),
                ('is_approved', models.BooleanField(default=False, help_text='Its signals need no further approval; otherwise each waits for an operator.')),
                ('approved_by_owner', models.BooleanField(db_default=False, default=False, editable=False, help_text="The approval is the owner's own: it covers the owner's accounts only.")),
                ('max_signal_notional', common.fields.AmountField(blank=True, help_text="Notional of a signal's entries on all accounts together. Empty: no limit.", null=True)),
                ('max_signal_currency', models.CharField(blank=True, db_default='', default='', help_text='The currency of that limit, such as USD.', max_length=10)),
                ('max_price_deviation_percent', common.fields.AmountField(blank=True, db_default=Decimal('50'), default=Decimal('50'), help_text="How far a signal's entry prices may be from the market when it is published, in percent of the smaller of both. Empty: they are not compared.", null=True)),
                ('max_level_deviation_percent', common.fields.AmountField(blank=True, db_default=Decimal('400'), default=Decimal('400'), help_text='The same for stop and targets: 400 is a fifth to five times the market. Empty: they are not compared.', null=True)),
                ('alert_mapping', models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict, help_text='How its alerts are read: paths, symbols and words (docs/alerts.md#mapping).')),
                ('record_is_public', models.BooleanField(db_default=False, default=False, help_text='Its record has a page that needs no sign-in, as long as the feed is public.')),
                ('alerts_per_minute', models.PositiveIntegerField(db_default=120, default=120, help_text='How many alerts its addresses accept each minute.')),
                ('alert_symbols', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=20), blank=True, db_default=[], default=list, help_text='Pairs in which alerts may open trades, such as EUR/USD. Empty: all. Alerts that close are accepted whatever is listed.', size=None)),
                ('alert_sources', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=43), blank=True, db_default=[], default=list, help_text='Network addresses from which alerts are accepted, such as 203.0.113.0/24; tradingview stands for those that TradingView publishes. Empty: all.', size=None)),
                ('alerts_signed_only', models.BooleanField(db_default=False, default=False, help_text='Only addresses whose alerts must be signed are accepted.')),
                ('archived_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ('name',),
                'constraints': [models.CheckConstraint(condition=models.Q(('alerts_per_minute__gte', 1), ('alerts_per_minute__lte', 6000)), name='feed_alerts_per_minute', violation_error_message='Alerts per minute are from 1 to 6,000.'), models.CheckConstraint(condition=models.Q(models.Q(('max_price_deviation_percent__isnull', True), ('max_price_deviation_percent__gt', 0), _connector='OR'), models.Q(('max_level_deviation_percent__isnull', True), ('max_level_deviation_percent__gt', 0), _connector='OR')), name='feed_deviations_gt_0', violation_error_message='Maximum deviations are above 0, or empty.'), models.CheckConstraint(condition=models.Q(models.Q(('max_signal_currency', ''), ('max_signal_notional__isnull', True)), models.Q(('max_signal_notional__gt', 0), ('max_signal_notional__isnull', False), models.Q(('max_signal_currency', ''), _negated=True)), _connector='OR'), name='feed_signal_limit_has_currency', violation_error_message='Max signal notional is above 0 and has a currency, or both are empty.'), models.CheckConstraint(condition=models.Q(('approved_by_owner', False), models.Q(('is_approved', True), ('is_public', False)), _connector='OR'), name='own_approval_is_private')],
            },
            bases=(common.db.row_faults.FieldConstraints, models.Model),
        ),
        migrations.CreateModel(
            name='FeedToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('feed', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='tokens', to='signals.feed')),
                ('name', models.CharField(default='alerts', max_length=100)),
                ('prefix', models.CharField(max_length=12, unique=True)),
                ('secret_hash', models.CharField(max_length=64)),
                ('signing_key', models.CharField(blank=True, default='', editable=False, help_text='Alerts must be signed with it. It is of no use without the token itself.', max_length=64)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('made_with', models.ForeignKey(blank=True, editable=False, help_text='The API key that it was made with: it opens nothing once that is revoked.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='users.apikey')),
            ],
        ),
        migrations.CreateModel(
            name='ReceivedAlert',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('feed', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='received_alerts', to='signals.feed')),
                ('key', models.CharField(max_length=64)),
                ('pair', models.CharField(blank=True, db_default='', default='', max_length=20)),
                ('change', models.CharField(help_text='entry, add, reduce, reverse, flat or close; open or modify of a signal.', max_length=7)),
                ('ended_side', models.CharField(blank=True, db_default='', default='', help_text='Side of the earlier trades that it ended or made smaller: BUY, SELL, BOTH.', max_length=4)),
                ('summary', models.CharField(max_length=300)),
                ('signal_ids', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), default=list, size=None)),
                ('sent_at', models.DateTimeField(help_text="By its sender's clock.", null=True)),
                ('received_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
            ],
            options={
                'indexes': [models.Index(fields=['feed', 'key'], name='received_alert_key'), models.Index(fields=['feed', 'pair', 'sent_at'], name='received_alert_sequence'), models.Index(fields=['received_at'], name='received_alert_received')],
            },
        ),
        migrations.CreateModel(
            name='Signal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('break_even_target', models.SmallIntegerField(blank=True, help_text='Move the stop to the entry price after so many targets. 0: never.', null=True)),
                ('break_even_profit', common.fields.AmountField(blank=True, help_text='Move the stop to the entry price at this profit, in the unit below. 0: never.', null=True)),
                ('break_even_offset', common.fields.AmountField(blank=True, help_text='How far beyond the entry price, on the side of the profit. Empty: 0.', null=True)),
                ('trailing_distance', common.fields.AmountField(blank=True, help_text='How far the stop follows behind the best price. 0: it does not trail.', null=True)),
                ('trailing_step', common.fields.AmountField(blank=True, help_text='The least move of a trailing stop. Empty: one pip.', null=True)),
                ('trailing_activation', common.fields.AmountField(blank=True, help_text='The profit from which the stop trails. Empty: from the start.', null=True)),
                ('stop_rule_unit', common.fields.ChoiceField(blank=True, db_default='', default='', help_text='Of all these distances. Empty: pips for currencies and metals, basis points (0.01 %) for the rest.', max_length=7)),
                ('execution_style', common.fields.ChoiceField(blank=True, db_default='', default='', help_text='Empty: one order. TWAP and VWAP send the entry in slices over the duration.', max_length=4)),
                ('duration_seconds', models.PositiveIntegerField(blank=True, help_text='Seconds from the first slice to the end, at most a day.', null=True, verbose_name='duration')),
                ('slice_count', models.PositiveSmallIntegerField(blank=True, help_text='2 to 100, at least 10 seconds apart.', null=True, verbose_name='slices')),
                ('slice_variation', common.fields.AmountField(blank=True, help_text='Percent by which sizes and times of slices vary at random; 0 to 50.', null=True)),
                ('price_limit', common.fields.AmountField(blank=True, help_text='No slice is sent while the market is beyond this price.', null=True)),
                ('catch_up', common.fields.ChoiceField(blank=True, db_default='', default='', help_text='What becomes of a slice that was not sent. Empty: the next slices send it too.', max_length=8)),
                ('at_end', common.fields.ChoiceField(blank=True, db_default='', default='', help_text='What becomes of what is left at the end. Empty: it is left out.', max_length=6)),
                ('feed', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='signals', to='signals.feed')),
                ('action', common.fields.ChoiceField(default='OPEN', max_length=6)),
                ('refers_to', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='followers', to='signals.signal')),
                ('currency_pair', models.CharField(help_text='Canonical, for example EUR/USD.', max_length=20)),
                ('direction', common.fields.ChoiceField(max_length=4)),
                ('order_type', common.fields.ChoiceField(default='MARKET', max_length=16)),
                ('open_price', common.fields.AmountField(blank=True, help_text="Limit price; for market orders the provider's price.", null=True)),
                ('stop_price', common.fields.AmountField(blank=True, help_text='Trigger of a stop, stop-limit or if-touched order.', null=True)),
                ('trail_distance', common.fields.AmountField(blank=True, help_text='How far a trailing stop follows, in quote currency.', null=True)),
                ('trail_pips', common.fields.AmountField(blank=True, help_text='The same in pips.', null=True)),
                ('trail_percent', common.fields.AmountField(blank=True, help_text='The same in percent of the price from which it follows.', null=True)),
                ('trail_atr', common.fields.AmountField(blank=True, help_text='The same in average true ranges (ATR) of the last 14 candles.', null=True, verbose_name='trail ATR')),
                ('trail_atr_minutes', models.SmallIntegerField(blank=True, choices=[(1, '1'), (5, '5'), (15, '15'), (30, '30'), (60, '60'), (240, '240')], help_text='Length of these candles. Empty: an hour.', null=True, verbose_name='trail ATR minutes')),
                ('activation_price', common.fields.AmountField(blank=True, help_text='A trailing stop follows from when the market is here; empty: at once.', null=True)),
                ('not_before', models.DateTimeField(blank=True, help_text='The entry works from this time on; empty: at once.', null=True)),
                ('after_signal', models.ForeignKey(blank=True, db_index=False, help_text='The entry works on an account once that has done with this signal what is next.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='signals.signal')),
                ('after_state', common.fields.ChoiceField(blank=True, db_default='', default='', help_text='What must have become of that signal on the account.', max_length=16)),
                ('close_at', models.DateTimeField(blank=True, help_text='The position is closed at this time; an entry that still works then ends.', null=True)),
                ('close_after_seconds', models.IntegerField(blank=True, help_text='The position is closed so long after its first fill.', null=True)),
                ('close_when_signal', models.ForeignKey(blank=True, db_index=False, help_text='The position is closed on an account once that has done with this signal what is next; an entry that still works then ends.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='signals.signal')),
                ('close_when_state', common.fields.ChoiceField(blank=True, db_default='', default='', help_text='What must have become of that signal on the account.', max_length=16)),
                ('sl', common.fields.AmountField(blank=True, null=True, verbose_name='stop loss')),
                ('target_prices', django.contrib.postgres.fields.ArrayField(base_field=common.fields.AmountField(), blank=True, default=list, size=None)),
                ('target_fractions', django.contrib.postgres.fields.ArrayField(base_field=common.fields.AmountField(), blank=True, default=list, size=None)),
                ('is_reversal', models.BooleanField(db_default=False, default=False, help_text='CLOSE: its sender opens the other side with it.')),
                ('close_fraction', common.fields.AmountField(default=Decimal('1'), help_text='CLOSE: the share of what is open, 1 = all.')),
                ('time_in_force', common.fields.ChoiceField(default='GTC', max_length=3)),
                ('valid_until', models.DateTimeField(blank=True, null=True)),
                ('max_slippage_pips', common.fields.AmountField(blank=True, help_text='In its unit.', null=True, verbose_name='max slippage')),
                ('max_slippage_unit', common.fields.ChoiceField(blank=True, db_default='', default='', help_text='Empty: pips of currencies and metals, basis points (0.01 %) of all else.', max_length=7)),
                ('max_spread', common.fields.AmountField(blank=True, help_text='In its unit. Accounts whose prices have a larger spread do not enter.', null=True)),
                ('max_spread_unit', common.fields.ChoiceField(blank=True, db_default='', default='', help_text='Empty: pips of currencies and metals, basis points (0.01 %) of all else.', max_length=7)),
                ('strategy_id', models.CharField(blank=True, max_length=64)),
                ('trade_plan_id', models.CharField(blank=True, max_length=64)),
                ('risk_category', common.fields.ChoiceField(default='normal', max_length=6)),
                ('provider_quantity', common.fields.AmountField(blank=True, help_text='Base units.', null=True)),
                ('provider_equity', common.fields.AmountField(blank=True, help_text="In the provider's currency.", null=True)),
                ('provider_currency', models.CharField(blank=True, db_default='', default='', help_text="The currency of the provider's equity, for example USD.", max_length=10)),
                ('external_id', models.CharField(blank=True, max_length=100, null=True)),
                ('content_hash', models.CharField(blank=True, max_length=64)),
                ('origin', common.fields.ChoiceField(default='HAND', max_length=5)),
                ('oco_group', models.UUIDField(blank=True, editable=False, help_text='Shared by the two legs of an OCO pair: one cancels the other.', null=True)),
                ('note', models.CharField(blank=True, max_length=500)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('approval', common.fields.ChoiceField(default='PENDING', max_length=8)),
                ('approved_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('approved_at', models.DateTimeField(blank=True, null=True)),
                ('published_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('published_at', models.DateTimeField(blank=True, null=True)),
                ('sent_at', models.DateTimeField(editable=False, help_text="When it was sent, by its sender's clock.", null=True)),
                ('market_bid', common.fields.AmountField(editable=False, null=True)),
                ('market_ask', common.fields.AmountField(editable=False, null=True)),
                ('market_at', models.DateTimeField(editable=False, help_text='Of the newest quote when it was published, market clock.', null=True)),
                ('market_source', models.BigIntegerField(editable=False, help_text='The price source of that quote.', null=True)),
                ('marks', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=20), db_default=[], default=list, editable=False, help_text='What its publication came too late for; docs/records.md.', size=None)),
                ('cancelled_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('cancelled_at', models.DateTimeField(blank=True, null=True)),
                ('candidate_count', models.IntegerField(blank=True, null=True)),
                ('reaches_admins', models.BooleanField(db_default=True, default=True, editable=False, help_text='Whether its feed did when it was published.')),
                ('owner_only', models.BooleanField(db_default=False, default=False, editable=False, help_text="When it was published, only its feed's owner had approved it, for the owner's own accounts.")),
                ('created_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
            ],
            options={
                'ordering': ('-id',),
                'indexes': [models.Index(fields=['feed', '-published_at'], name='signal_feed_published'), models.Index(fields=['feed', '-id'], name='signal_of_feed'), models.Index(fields=['refers_to'], name='signal_refers_to'), models.Index(condition=models.Q(('oco_group__isnull', False)), fields=['oco_group'], name='signal_oco'), models.Index(condition=models.Q(('action', 'OPEN'), ('published_at__isnull', False)), fields=['feed', 'currency_pair', 'direction', '-published_at'], name='signal_opened_trades'), models.Index(condition=models.Q(('action', 'CLOSE'), ('published_at__isnull', False)), fields=['published_at'], name='signal_published_closes')],
                'constraints': [models.UniqueConstraint(fields=('feed', 'external_id'), name='one_external_id'), models.CheckConstraint(condition=models.Q(('open_price__isnull', True), ('open_price__gt', 0), _connector='OR'), name='open_price_gt_0'), models.CheckConstraint(condition=models.Q(('stop_price__isnull', True), ('stop_price__gt', 0), _connector='OR'), name='stop_price_gt_0'), models.CheckConstraint(condition=models.Q(('sl__isnull', True), ('sl__gt', 0), _connector='OR'), name='sl_gt_0'), models.CheckConstraint(condition=models.Q(('close_fraction__gt', 0), ('close_fraction__lte', 1)), name='close_fraction_0_1'), models.CheckConstraint(condition=models.Q(('max_slippage_pips__isnull', True), ('max_slippage_pips__gte', 0), _connector='OR'), name='signal_slippage_gte_0'), models.CheckConstraint(condition=models.Q(('max_spread__isnull', True), ('max_spread__gte', 0), _connector='OR'), name='signal_spread_gte_0', violation_error_message='Max spread is 0 or more, or empty.'), models.CheckConstraint(condition=models.Q(models.Q(('provider_quantity__isnull', True), ('provider_quantity__gt', 0), _connector='OR'), models.Q(('provider_equity__isnull', True), ('provider_equity__gt', 0), _connector='OR')), name='provider_figures_gt_0', violation_error_message="The provider's quantity and equity are above 0, or empty."), models.CheckConstraint(condition=models.Q(('action', 'OPEN'), ('refers_to__isnull', False), _connector='OR'), name='follower_refers'), models.CheckConstraint(condition=models.Q(('published_at__isnull', True), ('approval', 'APPROVED'), _connector='OR'), name='published_is_approved'), models.CheckConstraint(condition=models.Q(models.Q(('order_type__in', ('LIMIT', 'STOP_LIMIT')), _negated=True), ('open_price__isnull', False), _connector='OR'), name='limit_has_price'), models.CheckConstraint(condition=models.Q(models.Q(('order_type__in', ('STOP', 'STOP_LIMIT', 'IF_TOUCHED')), _negated=True), ('stop_price__isnull', False), _connector='OR'), name='stop_has_price'), models.CheckConstraint(condition=models.Q(models.Q(('order_type', 'STOP_LIMIT'), _negated=True), ('sl__isnull', True), models.Q(('direction', 'BUY'), ('sl__lt', models.F('stop_price'))), models.Q(('direction', 'SELL'), ('sl__gt', models.F('stop_price'))), _connector='OR'), name='sl_behind_trigger'), models.CheckConstraint(condition=models.Q(models.Q(('time_in_force', 'GTD'), _negated=True), ('valid_until__isnull', False), _connector='OR'), name='gtd_has_end'), models.CheckConstraint(condition=models.Q(models.Q(('order_type', 'TRAILING_STOP'), ('trail_atr__isnull', True), ('trail_distance__gt', 0), ('trail_distance__isnull', False), ('trail_percent__isnull', True), ('trail_pips__isnull', True)), models.Q(('order_type', 'TRAILING_STOP'), ('trail_atr__isnull', True), ('trail_distance__isnull', True), ('trail_percent__isnull', True), ('trail_pips__gt', 0), ('trail_pips__isnull', False)), models.Q(('order_type', 'TRAILING_STOP'), ('trail_atr__isnull', True), ('trail_distance__isnull', True), ('trail_percent__gt', 0), ('trail_percent__isnull', False), ('trail_pips__isnull', True), ('trail_percent__lt', 100)), models.Q(('order_type', 'TRAILING_STOP'), ('trail_atr__gt', 0), ('trail_atr__isnull', False), ('trail_distance__isnull', True), ('trail_percent__isnull', True), ('trail_pips__isnull', True)), models.Q(models.Q(('order_type', 'TRAILING_STOP'), _negated=True), ('activation_price__isnull', True), ('trail_distance__isnull', True), ('trail_pips__isnull', True), ('trail_percent__isnull', True), ('trail_atr__isnull', True)), _connector='OR'), name='trailing_has_one_distance', violation_error_message='A trailing stop, and no other order, has one distance.'), models.CheckConstraint(condition=models.Q(('trail_atr_minutes__isnull', True), models.Q(('trail_atr__isnull', False), ('trail_atr_minutes__in', (1, 5, 15, 30, 60, 240))), _connector='OR'), name='trail_atr_minutes_of_atr'), models.CheckConstraint(condition=models.Q(('activation_price__isnull', True), ('activation_price__gt', 0), _connector='OR'), name='activation_price_gt_0'), models.CheckConstraint(condition=models.Q(models.Q(('refers_to', models.F('id')), _negated=True), ('refers_to__isnull', True), _connector='OR'), name='not_itself'), models.CheckConstraint(condition=models.Q(('oco_group__isnull', True), models.Q(('action', 'OPEN'), ('execution_style', ''), models.Q(('order_type', 'MARKET'), _negated=True)), _connector='OR'), name='oco_leg_is_held'), models.CheckConstraint(condition=models.Q(models.Q(('after_signal__isnull', True), ('after_state', ''), ('not_before__isnull', True)), models.Q(('action', 'OPEN'), ('oco_group__isnull', True), models.Q(models.Q(('after_signal__isnull', True), ('after_state', '')), models.Q(('after_signal__isnull', False), ('after_state__in', ['FILLED', 'CLOSED', 'CLOSED_AT_STOP', 'CLOSED_AT_TARGET', 'NOT_FILLED'])), _connector='OR')), _connector='OR'), name='condition_of_entry', violation_error_message="A condition has a signal and a state, and is an entry's."), models.CheckConstraint(condition=models.Q(models.Q(('close_at__isnull', True), models.Q(('action', 'CLOSE'), _negated=True), _connector='OR'), models.Q(('close_after_seconds__isnull', True), models.Q(('action', 'OPEN'), ('close_after_seconds__gt', 0)), _connector='OR')), name='time_exit_of_entry', violation_error_message='Close after seconds is above 0 and of an entry.'), models.CheckConstraint(condition=models.Q(models.Q(('close_when_signal__isnull', True), ('close_when_state', '')), models.Q(models.Q(('action', 'CLOSE'), _negated=True), ('close_when_signal__isnull', False), ('close_when_state__in', ['FILLED', 'CLOSED', 'CLOSED_AT_STOP', 'CLOSED_AT_TARGET', 'NOT_FILLED'])), _connector='OR'), name='exit_condition_is_whole', violation_error_message='A condition of the exit has a signal and a state.'), models.CheckConstraint(condition=models.Q(models.Q(('break_even_target__isnull', True), models.Q(('break_even_target__gte', 0), ('break_even_target__lte', 10)), _connector='OR'), models.Q(('break_even_profit__isnull', True), ('break_even_profit__gte', 0), _connector='OR'), models.Q(('break_even_offset__isnull', True), ('break_even_offset__gte', 0), _connector='OR'), models.Q(('trailing_distance__isnull', True), ('trailing_distance__gte', 0), _connector='OR'), models.Q(('trailing_step__isnull', True), ('trailing_step__gte', 0), _connector='OR'), models.Q(('trailing_activation__isnull', True), ('trailing_activation__gte', 0), _connector='OR'), models.Q(('trailing_step__isnull', True), ('trailing_step__gt', 0), _connector='OR')), name='signal_stop_rule_range', violation_error_message='Break-even and trailing: distances are 0 or more, the step is above 0, and the target is 0 to 10.'), models.CheckConstraint(condition=models.Q(models.Q(('at_end', ''), ('catch_up', ''), ('duration_seconds__isnull', True), ('execution_style', ''), ('slice_count__isnull', True), ('slice_variation__isnull', True), models.Q(('price_limit__isnull', True), ('action', 'MODIFY'), _connector='OR')), models.Q(models.Q(('execution_style', ''), _negated=True), ('action', 'OPEN'), ('duration_seconds__gt', 0), ('duration_seconds__isnull', False), ('duration_seconds__lte', 86400), ('order_type', 'MARKET'), ('slice_count__gte', 2), ('slice_count__isnull', False), ('slice_count__lte', 100), ('time_in_force', 'GTC')), _connector='OR'), name='style_is_complete', violation_error_message='Slices need OPEN, MARKET, GTC, a duration and their number.'), models.CheckConstraint(condition=models.Q(models.Q(('slice_variation__isnull', True), models.Q(('slice_variation__gte', 0), ('slice_variation__lte', 50)), _connector='OR'), models.Q(('price_limit__isnull', True), ('price_limit__gt', 0), _connector='OR')), name='style_in_range', violation_error_message='Variation is 0 to 50 percent; the price limit is above 0.')],
            },
        ),
        migrations.CreateModel(
            name='ApprovalRequest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('feed', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='approval_requests', to='signals.feed')),
                ('text', models.CharField(blank=True, help_text='For the operators.', max_length=500)),
                ('requested_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('requested_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
                ('outcome', common.fields.ChoiceField(blank=True, db_default='', default='', max_length=9)),
                ('sentence', models.CharField(blank=True, db_default='', default='', help_text="The operator's answer, which the owner reads.", max_length=500)),
                ('decided_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('decided_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ('-id',),
                'constraints': [models.UniqueConstraint(condition=models.Q(('outcome', '')), fields=('feed',), name='one_open_request'), models.CheckConstraint(condition=models.Q(models.Q(('decided_at', None), ('outcome', '')), models.Q(('decided_at__isnull', False), ('outcome__in', ('GRANTED', 'REFUSED', 'WITHDRAWN'))), _connector='OR'), name='request_is_decided'), models.CheckConstraint(condition=models.Q(models.Q(('outcome', 'REFUSED'), _negated=True), models.Q(('sentence', ''), _negated=True), _connector='OR'), name='refusal_has_sentence')],
            },
        ),
        migrations.CreateModel(
            name='FeedTerms',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('feed', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='terms', to='signals.feed')),
                ('text', models.TextField(blank=True, help_text='Empty: no terms.', max_length=20000)),
                ('changed_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('created_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
            ],
            options={
                'ordering': ('-id',),
                'indexes': [models.Index(fields=['feed', '-id'], name='feed_terms_newest')],
            },
        ),
        migrations.CreateModel(
            name='SavedDraft',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('feed', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='drafts', to='signals.feed')),
                ('key', models.UUIDField(default=uuid.uuid4)),
                ('action', common.fields.ChoiceField(max_length=6)),
                ('body', models.JSONField(default=dict, help_text='The signal as the API takes it.')),
                ('version', models.IntegerField(default=1)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('created_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
                ('changed_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
                ('signal', models.OneToOneField(blank=True, help_text='What it became.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='draft', to='signals.signal')),
                ('discarded_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ('-id',),
                'indexes': [models.Index(condition=models.Q(('discarded_at', None), ('signal', None)), fields=['feed', '-id'], name='draft_open')],
                'constraints': [models.UniqueConstraint(fields=('feed', 'key'), name='one_draft_a_form'), models.CheckConstraint(condition=models.Q(('signal', None), ('discarded_at', None), _connector='OR'), name='draft_ends_once')],
            },
        ),
        migrations.CreateModel(
            name='RecordLink',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('feed', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='signals.feed')),
                ('signal', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='signals.signal')),
                ('kind', common.fields.ChoiceField(max_length=6)),
                ('terms', models.JSONField(help_text='The signal as published, with the market of that moment; or its result.')),
                ('salt', models.CharField(help_text='So that a withheld link cannot be guessed.', max_length=36)),
                ('sealed_later', models.BooleanField(default=False, help_text='It was published, or its result final, before such links were sealed.')),
                ('number', models.BigIntegerField(help_text='In its feed, without gaps, by commit.', null=True)),
                ('sealed_at', models.DateTimeField(help_text='Machine time of the commit.', null=True)),
                ('hash', models.CharField(max_length=64, null=True)),
            ],
            options={
                'default_permissions': (),
                'indexes': [models.Index(fields=['signal'], name='record_of_signal'), models.Index(condition=models.Q(('number', None)), fields=['feed', 'id'], name='record_unnumbered')],
                'constraints': [models.UniqueConstraint(fields=('feed', 'number'), name='one_link_of_a_number')],
            },
        ),
        migrations.CreateModel(
            name='RecordHead',
            fields=[
                ('feed', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='+', serialize=False, to='signals.feed')),
                ('links', models.BigIntegerField()),
                ('hash', models.CharField(blank=True, max_length=64)),
                ('sealed_at', models.DateTimeField()),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='RecordAnchor',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('feed', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='signals.feed')),
                ('at', models.DateTimeField()),
                ('number', models.BigIntegerField()),
                ('hash', models.CharField(max_length=64)),
                ('signature', models.TextField()),
            ],
            options={
                'default_permissions': (),
                'indexes': [models.Index(fields=['feed', 'id'], name='record_anchor_of_feed')],
            },
        ),
        migrations.CreateModel(
            name='RecordStatus',
            fields=[
                ('feed', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='+', serialize=False, to='signals.feed')),
                ('verified_at', models.DateTimeField(help_text='Machine time.')),
                ('number', models.BigIntegerField(help_text='The last link that was checked.')),
                ('findings', models.TextField(blank=True, default='')),
            ],
            options={
                'default_permissions': (),
            },
        ),
        *_database.OPERATIONS,
    ]
