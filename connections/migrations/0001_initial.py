"""Broker accounts, and everything that an owner or an operator decides about them."""

from decimal import Decimal
from uuid import uuid4

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models
from django.db.models.functions import Coalesce

from common.clocks import market_now
from common.db_functions import ClockTimestamp
from common.fields import AmountField
from common.migration_sql import run_file
from common.row_security import (
    MINE,
    MY_CONNECTION_BY_SUBSELECT,
    MY_CONNECTIONS_BY_SUBSELECT,
    SIGNED_IN,
    TENANT,
    TRADE,
    operator_rows,
    shared_rows,
    tenant_rows,
)
from connections.models.accounts import BrokerHost

MY_SUBSCRIPTION = (
    "subscription_id IN (SELECT mine.id FROM connections_subscription mine"
    f" WHERE mine.connection_id IN ({MY_CONNECTIONS_BY_SUBSELECT}))"
)
# A preset or price source without an owner is the operators', for everybody's use.
MINE_OR_FOR_ALL = f"{MINE} OR (user_id IS NULL AND {SIGNED_IN})"
BY_MINE = f"{MINE} AND (broker_connection_id IS NULL OR broker_connection_id IN ({MY_CONNECTIONS_BY_SUBSELECT}))"
# Its source is looked for under that table's own policy.
SEEN = "source_id IN (SELECT seen.id FROM connections_dataconnection seen)"
MY_FEED = f"feed_id IN (SELECT mine.id FROM signals_feed mine WHERE mine.owner_id = {TENANT})"
HALTS_ME = (
    f"(scope = 'ALL' AND {SIGNED_IN}) OR {MINE} OR {MY_CONNECTION_BY_SUBSELECT}"
    " OR feed_id IN (SELECT seen.id FROM signals_feed seen)"  # itself under its policy
)
# A tenant does not release what an operator set.
I_HALT = f"set_by_id = {TENANT} AND ({MINE} OR {MY_CONNECTION_BY_SUBSELECT} OR {MY_FEED})"
# Health is not written by the setting `fillcast.operator`, which opens rows for publications: by the
# right.
MINE_OR_BY_RIGHT = (
    f"{MY_CONNECTION_BY_SUBSELECT} OR ((SELECT public.fillcast_actor_may('manage_connections'))"
    " OR (SELECT public.fillcast_actor_may('replace_credentials')))"
)
HEALTH_POLICIES = f"""
ALTER POLICY tenant_rows_insert ON connections_connectionhealth WITH CHECK ({MINE_OR_BY_RIGHT});
ALTER POLICY tenant_rows_update ON connections_connectionhealth
  USING ({MINE_OR_BY_RIGHT}) WITH CHECK ({MINE_OR_BY_RIGHT});
"""
# Drawn from again and again and kept outside too: a restored database shows by being behind.
MARK = f"""
CREATE SEQUENCE fillcast_mark;
GRANT USAGE, SELECT, UPDATE ON SEQUENCE fillcast_mark TO {TRADE};
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("signals", "0001_initial"), ("users", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="MaintenanceWindow",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "broker_type",
                    models.CharField(
                        blank=True, help_text="Empty: all broker types.", max_length=20
                    ),
                ),
                (
                    "exchange_name",
                    models.CharField(blank=True, max_length=40, verbose_name="exchange"),
                ),
                (
                    "host",
                    models.CharField(
                        blank=True, help_text="As listed in Broker hosts.", max_length=120
                    ),
                ),
                (
                    "weekday",
                    models.SmallIntegerField(
                        blank=True,
                        choices=[
                            (0, "Monday"),
                            (1, "Tuesday"),
                            (2, "Wednesday"),
                            (3, "Thursday"),
                            (4, "Friday"),
                            (5, "Saturday"),
                            (6, "Sunday"),
                        ],
                        help_text="Empty: every day, or on the date.",
                        null=True,
                    ),
                ),
                ("on_date", models.DateField(blank=True, null=True, verbose_name="only on")),
                ("starts_at", models.TimeField(help_text="Local time of the zone.")),
                (
                    "zone",
                    models.CharField(
                        default="UTC", help_text="For example Europe/Berlin.", max_length=60
                    ),
                ),
                ("minutes", models.PositiveIntegerField()),
                (
                    "is_closed",
                    models.BooleanField(
                        default=True,
                        help_text="If not set, entries wait only while the account does not answer.",
                        verbose_name="entries wait for its end",
                    ),
                ),
                (
                    "note",
                    models.CharField(
                        help_text="Shown to the owners of the accounts.", max_length=200
                    ),
                ),
                ("is_active", models.BooleanField(default=True, verbose_name="active")),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("minutes__gte", 1), ("minutes__lte", 10080)),
                        name="window_has_a_length",
                        violation_error_message="At least a minute and at most a week.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("weekday", None), ("on_date", None), _connector="OR"),
                        name="window_weekday_or_date",
                        violation_error_message="Either a weekday or a date.",
                    ),
                ]
            },
        ),
        migrations.CreateModel(
            name="HostCircuit",
            fields=[
                ("host", models.CharField(max_length=120, primary_key=True, serialize=False)),
                ("opened_at", models.DateTimeField(help_text="Empty: closed.", null=True)),
                ("closed_at", models.DateTimeField(null=True)),
                (
                    "probe_at",
                    models.DateTimeField(
                        help_text="When one account is read as a probe.", null=True
                    ),
                ),
                (
                    "times",
                    models.SmallIntegerField(default=0, help_text="Openings in quick succession."),
                ),
                (
                    "failing",
                    models.IntegerField(default=0, help_text="Accounts that did not answer."),
                ),
                (
                    "contacted",
                    models.IntegerField(
                        default=0, help_text="Accounts contacted in half a minute."
                    ),
                ),
                ("message", models.TextField(blank=True, default="")),
            ],
        ),
        migrations.CreateModel(
            name="TradingPreset",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: an operators' preset that all users may use.",
                        null=True,
                        on_delete=models.CASCADE,
                        related_name="presets",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "sizing_mode",
                    models.CharField(
                        choices=[
                            ("FIXED", "Fixed quantity"),
                            ("PERCENT_BALANCE", "Percent of balance as notional"),
                            ("FIXED_AMOUNT", "Fixed amount as notional"),
                            ("RISK_PERCENT", "Percent of equity at risk"),
                        ],
                        default="RISK_PERCENT",
                        max_length=16,
                    ),
                ),
                ("fixed_quantity", AmountField(blank=True, help_text="Base units.", null=True)),
                ("percent_of_balance", AmountField(blank=True, null=True)),
                ("fixed_amount", AmountField(blank=True, help_text="Account currency.", null=True)),
                (
                    "risk_percent",
                    AmountField(blank=True, help_text="Of equity, lost at the stop.", null=True),
                ),
                ("multiplier", AmountField(default=Decimal("1"))),
                ("small_multiplier", AmountField(default=Decimal("0.5"))),
                ("normal_multiplier", AmountField(default=Decimal("1"))),
                ("large_multiplier", AmountField(default=Decimal("2"))),
                ("max_quantity", AmountField(blank=True, help_text="Base units.", null=True)),
                ("max_open_positions", models.IntegerField(default=20)),
                (
                    "max_leverage",
                    AmountField(default=Decimal("30"), help_text="Open notional / equity."),
                ),
                ("max_portfolio_risk_percent", AmountField(default=Decimal("10"))),
                (
                    "max_slippage_pips",
                    AmountField(
                        blank=True,
                        help_text="In the slippage unit, see below.",
                        null=True,
                        verbose_name="max slippage",
                    ),
                ),
                (
                    "slippage_alert_threshold_pips",
                    AmountField(
                        default=Decimal("5"),
                        help_text="In the slippage unit.",
                        verbose_name="slippage alert threshold",
                    ),
                ),
                (
                    "slippage_unit",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("PIPS", "Pips"),
                            ("TICKS", "Ticks"),
                            ("BPS", "Basis points"),
                            ("PERCENT", "Percent"),
                        ],
                        db_default="",
                        default="",
                        help_text="Empty: pips for currencies and metals, basis points (0.01 %) for the rest.",
                        max_length=7,
                    ),
                ),
                ("max_signal_age_seconds", models.IntegerField(default=300)),
                (
                    "broker_holds_stops",
                    models.BooleanField(
                        default=True,
                        help_text="Stops and targets are placed at the broker if it supports them.",
                    ),
                ),
                (
                    "stuck_policy",
                    models.CharField(
                        choices=[
                            ("CANCEL", "Cancel at the broker"),
                            ("ESCALATE", "Alert the operators"),
                        ],
                        default="ESCALATE",
                        max_length=8,
                    ),
                ),
                (
                    "trading_day_zone",
                    models.CharField(
                        default="America/New_York",
                        help_text="A trading day ends at 17:00 there.",
                        max_length=64,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ("name",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("risk_percent__isnull", True),
                            models.Q(("risk_percent__gt", 0), ("risk_percent__lte", 100)),
                            _connector="OR",
                        ),
                        name="risk_percent_0_100",
                        violation_error_message="Risk percent is above 0 and at most 100.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("percent_of_balance__isnull", True),
                            models.Q(
                                ("percent_of_balance__gt", 0), ("percent_of_balance__lte", 10000)
                            ),
                            _connector="OR",
                        ),
                        name="percent_of_balance_range",
                        violation_error_message="Percent of balance is above 0 and at most 10,000.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("fixed_quantity__isnull", True),
                                ("fixed_quantity__gt", 0),
                                _connector="OR",
                            ),
                            models.Q(
                                ("fixed_amount__isnull", True),
                                ("fixed_amount__gt", 0),
                                _connector="OR",
                            ),
                            models.Q(
                                ("max_quantity__isnull", True),
                                ("max_quantity__gt", 0),
                                _connector="OR",
                            ),
                        ),
                        name="preset_sizes_gt_0",
                        violation_error_message="Fixed quantity, fixed amount and max quantity are above 0, or empty.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("large_multiplier__gt", 0),
                            ("multiplier__gt", 0),
                            ("normal_multiplier__gt", 0),
                            ("small_multiplier__gt", 0),
                        ),
                        name="preset_multipliers_gt_0",
                        violation_error_message="Each multiplier is above 0.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("max_leverage__gt", 0),
                            ("max_open_positions__gt", 0),
                            ("max_portfolio_risk_percent__gt", 0),
                            ("max_portfolio_risk_percent__lte", 100),
                            ("max_signal_age_seconds__gt", 0),
                        ),
                        name="preset_limits_range",
                        violation_error_message="Max open positions, max leverage and max signal age are above 0; max portfolio risk percent is above 0 and at most 100.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("slippage_alert_threshold_pips__gte", 0),
                            models.Q(
                                ("max_slippage_pips__isnull", True),
                                ("max_slippage_pips__gte", 0),
                                _connector="OR",
                            ),
                        ),
                        name="preset_slippage_gte_0",
                        violation_error_message="Max slippage and the alert threshold are 0 or more.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                models.Q(("sizing_mode", "FIXED"), _negated=True),
                                ("fixed_quantity__isnull", False),
                                _connector="OR",
                            ),
                            models.Q(
                                models.Q(("sizing_mode", "PERCENT_BALANCE"), _negated=True),
                                ("percent_of_balance__isnull", False),
                                _connector="OR",
                            ),
                            models.Q(
                                models.Q(("sizing_mode", "FIXED_AMOUNT"), _negated=True),
                                ("fixed_amount__isnull", False),
                                _connector="OR",
                            ),
                            models.Q(
                                models.Q(("sizing_mode", "RISK_PERCENT"), _negated=True),
                                ("risk_percent__isnull", False),
                                _connector="OR",
                            ),
                        ),
                        name="preset_mode_has_number",
                        violation_error_message="The sizing mode needs its number: percent of equity at risk needs risk percent, fixed quantity its quantity, percent of balance its percent, fixed amount its amount.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Instrument",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("book", models.CharField(max_length=80)),
                ("symbol", models.CharField(help_text="The broker's own name.", max_length=40)),
                ("pair", models.CharField(help_text="Canonical BASE/QUOTE.", max_length=20)),
                (
                    "is_preferred",
                    models.BooleanField(
                        default=True,
                        help_text="It is the one of several symbols of its pair that is traded.",
                    ),
                ),
                ("digits", models.SmallIntegerField()),
                ("pip", AmountField()),
                ("quantity_min", AmountField()),
                ("quantity_step", AmountField()),
                ("quantity_max", AmountField()),
                ("contract_size", AmountField(help_text="Base units in one lot at the broker.")),
                ("stops_level", AmountField(default=Decimal("0"))),
                ("margin_rate", AmountField(default=Decimal("0"))),
                (
                    "close_min",
                    AmountField(
                        db_default=Decimal("0"),
                        default=Decimal("0"),
                        help_text="Least quantity of an exit; 0: one step is enough.",
                    ),
                ),
                (
                    "close_worth_min",
                    AmountField(
                        db_default=Decimal("0"),
                        default=Decimal("0"),
                        help_text="Least worth of an exit, in quote currency.",
                    ),
                ),
                (
                    "tick",
                    AmountField(
                        db_default=Decimal("0"),
                        default=Decimal("0"),
                        help_text="Smallest step of its price; 0: one unit of the last digit.",
                    ),
                ),
                ("read_at", models.DateTimeField()),
            ],
            options={
                "indexes": [
                    models.Index(
                        models.Func(
                            models.F("pair"),
                            models.Value("/"),
                            models.Value(1),
                            function="split_part",
                        ),
                        condition=models.Q(("is_preferred", True)),
                        name="instrument_base",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("book", "symbol"), name="one_symbol_a_book"),
                    models.UniqueConstraint(
                        condition=models.Q(("is_preferred", True)),
                        fields=("book", "pair"),
                        name="one_preferred_symbol",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("pip__gt", 0), ("quantity_min__gt", 0), ("quantity_step__gt", 0)
                        ),
                        name="instrument_steps_gt_0",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="InstrumentBook",
            fields=[
                ("book", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("read_at", models.DateTimeField(null=True)),
                ("requested_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="LaneLease",
            fields=[
                ("lane", models.CharField(max_length=64, primary_key=True, serialize=False)),
                (
                    "owner",
                    models.CharField(
                        help_text="A trading process, as in its own lease.", max_length=80
                    ),
                ),
                ("fence", models.BigIntegerField(db_default=1, default=1)),
                (
                    "acquired_at",
                    models.DateTimeField(help_text="Reconciliations that began earlier are void."),
                ),
                ("until", models.DateTimeField(help_text="By the database's clock.")),
            ],
        ),
        migrations.CreateModel(
            name="LaneAssignment",
            fields=[
                (
                    "session_key",
                    models.CharField(max_length=200, primary_key=True, serialize=False),
                ),
                ("lane", models.CharField(max_length=64)),
            ],
        ),
        migrations.CreateModel(
            name="ExecutionConnection",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="execution_connections",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "admin",
                    models.ForeignKey(
                        blank=True,
                        help_text="An administrator's own account takes all published signals.",
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="admin_connections",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "type",
                    models.CharField(help_text="A broker type of the registry.", max_length=20),
                ),
                ("exchange_name", models.CharField(blank=True, max_length=40)),
                (
                    "account",
                    models.CharField(
                        help_text="Account number or login at the broker.", max_length=60
                    ),
                ),
                (
                    "account_scope",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        editable=False,
                        help_text="The scope within which `account` is unique; empty: the broker type.",
                        max_length=120,
                    ),
                ),
                (
                    "claim",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        editable=False,
                        help_text="The account that its last passed test proved (connections/accounts/ownership).",
                        max_length=500,
                    ),
                ),
                (
                    "credentials_claim",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        editable=False,
                        help_text="A digest of the credentials of that test, if the account's number is only its owner's name for it.",
                        max_length=64,
                    ),
                ),
                (
                    "identity",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        editable=False,
                        help_text="The broker's own identity of the account, if it reports one.",
                        max_length=120,
                    ),
                ),
                (
                    "identity_credentials_digest",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        editable=False,
                        help_text="A digest of the sealed credentials that `identity` belongs to; empty: unknown.",
                        max_length=64,
                    ),
                ),
                ("sealed_credentials", models.BinaryField(blank=True, null=True)),
                (
                    "credentials_changed_at",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        help_text="Leaves a line in the audit trail.",
                        null=True,
                    ),
                ),
                ("is_active", models.BooleanField(default=True)),
                ("is_paused", models.BooleanField(default=False)),
                (
                    "auto_correct",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="Accept the broker's quantities and levels without a decision.",
                    ),
                ),
                ("settings", models.JSONField(blank=True, default=dict)),
                (
                    "broker_host",
                    models.GeneratedField(
                        db_persist=True,
                        expression=BrokerHost(),
                        output_field=models.CharField(max_length=120),
                    ),
                ),
                (
                    "preset",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=models.PROTECT,
                        to="connections.tradingpreset",
                    ),
                ),
                (
                    "lane",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        editable=False,
                        help_text="The queue of the worker that calls its broker; empty: any worker.",
                        max_length=64,
                    ),
                ),
                (
                    "instrument_book",
                    models.CharField(
                        blank=True,
                        help_text="The list of instruments that the account uses.",
                        max_length=80,
                    ),
                ),
                ("created_at", models.DateTimeField(default=market_now, editable=False)),
                ("archived_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ("name", "id"),
                "indexes": [
                    models.Index(fields=["broker_host"], name="connection_of_host"),
                    models.Index(
                        condition=models.Q(("lane", ""), _negated=True),
                        fields=["lane"],
                        name="connection_of_lane",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("admin__isnull", True), ("user__isnull", False)),
                            models.Q(("admin__isnull", False), ("user__isnull", True)),
                            _connector="OR",
                        ),
                        name="exactly_one_owner",
                    ),
                    models.UniqueConstraint(
                        models.F("type"),
                        models.F("exchange_name"),
                        models.F("account"),
                        models.F("account_scope"),
                        Coalesce("user_id", "admin_id"),
                        condition=models.Q(("archived_at__isnull", True)),
                        name="one_connection_an_account",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(
                            ("archived_at__isnull", True), models.Q(("claim", ""), _negated=True)
                        ),
                        fields=("claim",),
                        name="one_claim_an_account",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(
                            ("archived_at__isnull", True),
                            models.Q(("credentials_claim", ""), _negated=True),
                        ),
                        fields=("credentials_claim",),
                        name="one_connection_a_key",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ConnectionHealth",
            fields=[
                (
                    "connection",
                    models.OneToOneField(
                        on_delete=models.CASCADE,
                        primary_key=True,
                        related_name="health",
                        serialize=False,
                        to="connections.executionconnection",
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("UNTESTED", "Never tested"),
                            ("ACTIVE", "Healthy"),
                            ("ERROR", "Error"),
                        ],
                        db_default="UNTESTED",
                        default="UNTESTED",
                        max_length=8,
                    ),
                ),
                ("last_error", models.TextField(blank=True, db_default="", default="")),
                ("last_error_at", models.DateTimeField(null=True)),
                ("last_tested_at", models.DateTimeField(null=True)),
                ("last_connected_at", models.DateTimeField(null=True)),
                ("last_used_at", models.DateTimeField(null=True)),
                (
                    "last_test",
                    models.JSONField(
                        db_default=[],
                        default=list,
                        help_text="The named checks of the last connection test.",
                    ),
                ),
                ("test_requested_at", models.DateTimeField(null=True)),
                (
                    "needs_test",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="It becomes healthy only by a passed test, not by an answer alone.",
                    ),
                ),
                ("consecutive_failures", models.IntegerField(db_default=0, default=0)),
                ("failing_since", models.DateTimeField(null=True)),
                (
                    "unreachable_at",
                    models.DateTimeField(
                        help_text="When it last did not answer; empty if the error has another cause.",
                        null=True,
                    ),
                ),
                (
                    "error_code",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="The reason code of entries, if the error has its own.",
                        max_length=64,
                    ),
                ),
                (
                    "errored_at",
                    models.DateTimeField(
                        help_text="When its last error began: older reconciliations do not count.",
                        null=True,
                    ),
                ),
                (
                    "read_after",
                    models.DateTimeField(
                        help_text="Its account is not polled before; set with an error.",
                        null=True,
                    ),
                ),
                (
                    "inactivity_alerted_at",
                    models.DateTimeField(
                        help_text="When its owner was alerted (connections/health/inactivity.py).",
                        null=True,
                    ),
                ),
                (
                    "monitored_since",
                    models.DateTimeField(
                        help_text="When it was switched on: earlier inactivity does not count.",
                        null=True,
                    ),
                ),
                ("circuit_open_until", models.DateTimeField(null=True)),
                (
                    "reconciled_at",
                    models.DateTimeField(
                        help_text="First clean reconciliation since the last connect; no entry before.",
                        null=True,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("unreachable_at__isnull", False)),
                        fields=["last_error_at"],
                        name="health_in_doubt",
                    ),
                    models.Index(
                        condition=models.Q(("error_code", ""), _negated=True),
                        fields=["read_after"],
                        name="health_may_not_trade",
                    ),
                ]
            },
        ),
        migrations.CreateModel(
            name="AccountSnapshot",
            fields=[
                (
                    "connection",
                    models.OneToOneField(
                        on_delete=models.CASCADE,
                        primary_key=True,
                        related_name="snapshot",
                        serialize=False,
                        to="connections.executionconnection",
                    ),
                ),
                ("currency", models.CharField(max_length=10)),
                ("balance", AmountField()),
                ("equity", AmountField()),
                ("margin_used", AmountField()),
                ("free_margin", AmountField()),
                ("leverage", AmountField()),
                ("position_mode", models.CharField(max_length=8)),
                ("read_at", models.DateTimeField(help_text="Machine time of the read's start.")),
            ],
        ),
        migrations.CreateModel(
            name="ConnectionLock",
            fields=[
                (
                    "connection",
                    models.OneToOneField(
                        on_delete=models.CASCADE,
                        primary_key=True,
                        related_name="connection_lock",
                        serialize=False,
                        to="connections.executionconnection",
                    ),
                )
            ],
            options={"verbose_name_plural": "connection locks"},
        ),
        migrations.CreateModel(
            name="DataConnection",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=models.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("replay", "Recorded quotes"),
                            ("static", "Constant quotes (benchmarks)"),
                            ("broker", "The broker's own stream"),
                        ],
                        default="replay",
                        max_length=10,
                    ),
                ),
                ("settings", models.JSONField(blank=True, default=dict)),
                (
                    "broker_connection",
                    models.OneToOneField(
                        blank=True,
                        help_text="The account whose broker provides these prices.",
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="price_source",
                        to="connections.executionconnection",
                    ),
                ),
                ("is_active", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "verbose_name": "price source",
                "ordering": ("name",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("kind", "broker"), ("broker_connection__isnull", True), _connector="OR"
                        ),
                        name="only_broker_source_has_connection",
                        violation_error_message="Only a source of the kind broker has an account.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("kind", "broker"), _negated=True),
                            ("broker_connection__isnull", False),
                            ("is_active", False),
                            _connector="OR",
                        ),
                        name="broker_source_has_connection",
                        violation_error_message="A source of the kind broker needs the account that provides its prices.",
                    ),
                ],
            },
        ),
        # The two refer to each other: an account takes prices from a source, a source reads an account.
        migrations.AddField(
            model_name="executionconnection",
            name="data_connection",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=models.PROTECT,
                to="connections.dataconnection",
                verbose_name="price source",
            ),
        ),
        migrations.CreateModel(
            name="KillSwitch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "scope",
                    models.CharField(
                        choices=[
                            ("ALL", "All"),
                            ("FEED", "Feed"),
                            ("USER", "User"),
                            ("CONNECTION", "Connection"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "mode",
                    models.CharField(
                        choices=[("REDUCING", "Exits only"), ("HALTED", "Nothing is sent")],
                        max_length=8,
                    ),
                ),
                (
                    "feed",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=models.CASCADE, to="signals.feed"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=models.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=models.CASCADE,
                        to="connections.executionconnection",
                    ),
                ),
                ("reason", models.CharField(max_length=200)),
                (
                    "set_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("set_at", models.DateTimeField(db_default=ClockTimestamp())),
                ("released_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name_plural": "kill switches",
                "indexes": [
                    models.Index(
                        condition=models.Q(("released_at__isnull", True)),
                        fields=["scope"],
                        name="kill_switch_set",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("connection", None),
                                ("feed", None),
                                ("scope", "ALL"),
                                ("user", None),
                            ),
                            models.Q(
                                ("connection", None),
                                ("feed__isnull", False),
                                ("scope", "FEED"),
                                ("user", None),
                            ),
                            models.Q(
                                ("connection", None),
                                ("feed", None),
                                ("scope", "USER"),
                                ("user__isnull", False),
                            ),
                            models.Q(
                                ("connection__isnull", False),
                                ("feed", None),
                                ("scope", "CONNECTION"),
                                ("user", None),
                            ),
                            _connector="OR",
                        ),
                        name="kill_switch_names_its_scope",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Epoch",
            fields=[
                ("number", models.PositiveIntegerField(primary_key=True, serialize=False)),
                ("lineage", models.UUIDField(default=uuid4)),
                (
                    "cause",
                    models.CharField(
                        choices=[
                            ("FOUNDED", "The first epoch of this database"),
                            ("COMMAND", "Opened by an operator"),
                            ("BEHIND", "The database is older than its last known state"),
                            (
                                "PROMOTED",
                                "Another timeline: a standby was promoted, or a backup recovered",
                            ),
                        ],
                        max_length=10,
                    ),
                ),
                ("note", models.CharField(blank=True, db_default="", default="", max_length=200)),
                ("evidence", models.JSONField(db_default={}, default=dict)),
                (
                    "since",
                    models.DateTimeField(
                        db_default=ClockTimestamp(),
                        help_text="Later rows are of this epoch; rows that followed earlier ones may be lost.",
                    ),
                ),
                ("opened_at", models.DateTimeField(db_default=ClockTimestamp())),
                (
                    "opened_by",
                    models.CharField(blank=True, db_default="", default="", max_length=150),
                ),
                (
                    "answer_by",
                    models.DateTimeField(
                        db_default=ClockTimestamp(),
                        help_text="Until then a process of the previous epoch may still send its orders.",
                    ),
                ),
                (
                    "books_read_at",
                    models.DateTimeField(
                        help_text="When brokers were queried for orders that we may have lost.",
                        null=True,
                    ),
                ),
                (
                    "treated",
                    models.JSONField(
                        db_default={}, default=dict, help_text="How rows were resolved."
                    ),
                ),
                (
                    "kill_switch",
                    models.OneToOneField(
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="epoch",
                        to="connections.killswitch",
                    ),
                ),
                ("released_at", models.DateTimeField(null=True)),
                (
                    "released_by",
                    models.CharField(blank=True, db_default="", default="", max_length=150),
                ),
                (
                    "release_note",
                    models.CharField(blank=True, db_default="", default="", max_length=200),
                ),
                (
                    "left_open",
                    models.JSONField(
                        db_default=[],
                        default=list,
                        help_text="Open issues at the time of its release.",
                    ),
                ),
            ],
            options={
                "ordering": ("-number",),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("released_at__isnull", True)),
                        fields=("lineage",),
                        name="one_open_epoch",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SourceHealth",
            fields=[
                (
                    "source",
                    models.OneToOneField(
                        on_delete=models.CASCADE,
                        primary_key=True,
                        related_name="health",
                        serialize=False,
                        to="connections.dataconnection",
                    ),
                ),
                (
                    "last_contact_at",
                    models.DateTimeField(
                        help_text="When its broker last confirmed a price.", null=True
                    ),
                ),
                (
                    "error_code",
                    models.CharField(blank=True, help_text="Empty: no error.", max_length=40),
                ),
                (
                    "error",
                    models.CharField(blank=True, help_text="Whole sentences.", max_length=500),
                ),
                ("failing_since", models.DateTimeField(null=True)),
                (
                    "pairs",
                    ArrayField(
                        base_field=models.CharField(max_length=20),
                        default=list,
                        help_text="The followed canonical pairs.",
                        size=None,
                    ),
                ),
                (
                    "missing",
                    ArrayField(
                        base_field=models.CharField(max_length=20),
                        default=list,
                        help_text="The followed pairs without a usable price.",
                        size=None,
                    ),
                ),
                (
                    "followed_by",
                    models.CharField(blank=True, help_text="A trading process.", max_length=80),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Subscription",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        on_delete=models.CASCADE,
                        related_name="subscriptions",
                        to="connections.executionconnection",
                    ),
                ),
                (
                    "feed",
                    models.ForeignKey(
                        on_delete=models.PROTECT, related_name="subscriptions", to="signals.feed"
                    ),
                ),
                ("is_paused", models.BooleanField(default=False)),
                (
                    "expires_at",
                    models.DateTimeField(blank=True, help_text="Market clock.", null=True),
                ),
                ("multiplier", AmountField(default=Decimal("1"))),
                (
                    "symbol_map",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text='Canonical pair to broker symbol: {"EUR/USD": "EURUSD.m"}',
                    ),
                ),
                (
                    "directions",
                    models.CharField(
                        choices=[("BOTH", "Both"), ("BUY", "Buys only"), ("SELL", "Sells only")],
                        default="BOTH",
                        max_length=4,
                    ),
                ),
                ("archived_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("archived_at__isnull", True)),
                        fields=["feed"],
                        name="subscription_live",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("connection", "feed"), name="one_subscription"),
                    models.CheckConstraint(
                        condition=models.Q(("multiplier__gt", 0)),
                        name="subscription_multiplier_gt_0",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SubscriptionInterval",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "subscription",
                    models.ForeignKey(
                        on_delete=models.CASCADE,
                        related_name="intervals",
                        to="connections.subscription",
                    ),
                ),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at", None)),
                        fields=("subscription",),
                        name="one_open_interval",
                    )
                ]
            },
        ),
        tenant_rows(
            "connections_executionconnection", f"{MINE} OR admin_id = {TENANT}", write=MINE
        ),
        tenant_rows("connections_connectionhealth", MY_CONNECTION_BY_SUBSELECT),
        migrations.RunSQL(HEALTH_POLICIES),
        tenant_rows("connections_accountsnapshot", MY_CONNECTION_BY_SUBSELECT, write="false"),
        tenant_rows("connections_connectionlock", MY_CONNECTION_BY_SUBSELECT),
        tenant_rows("connections_subscription", MY_CONNECTION_BY_SUBSELECT),
        tenant_rows("connections_subscriptioninterval", MY_SUBSCRIPTION),
        tenant_rows("connections_tradingpreset", MINE, read=MINE_OR_FOR_ALL),
        tenant_rows("connections_dataconnection", BY_MINE, read=MINE_OR_FOR_ALL),
        tenant_rows("connections_sourcehealth", "false", read=SEEN),
        tenant_rows("connections_killswitch", "false", read=HALTS_ME, write=I_HALT),
        operator_rows("connections_epoch"),
        operator_rows("connections_hostcircuit"),
        shared_rows("connections_maintenancewindow"),
        shared_rows("connections_instrument"),
        shared_rows("connections_instrumentbook"),
        shared_rows("connections_lanelease"),
        # Saving a connection adds its session's lane; no row names its owner.
        shared_rows("connections_laneassignment", add=True),
        run_file(__file__, "guards.sql"),
        migrations.RunSQL(MARK),
    ]
