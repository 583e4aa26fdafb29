"""Loss limits with their pauses, the history of balances, deposits and withdrawals."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from common.audit_trail_sql import track
from common.db_functions import ClockTimestamp
from common.fields import AmountField
from common.migration_sql import run_file
from common.row_security import (
    MINE,
    MY_CONNECTION_BY_SUBSELECT,
    MY_CONNECTIONS_BY_SUBSELECT,
    tenant_rows,
)

MY_LIMIT = (
    f"preset_id IN (SELECT own.id FROM connections_tradingpreset own WHERE own.{MINE})"
    " OR subscription_id IN (SELECT own.id FROM connections_subscription own"
    f" WHERE own.connection_id IN ({MY_CONNECTIONS_BY_SUBSELECT}))"
)
# A preset is looked for under that table's own policy: the operators' are for all users.
VISIBLE_LIMIT = f"{MY_LIMIT} OR preset_id IN (SELECT seen.id FROM connections_tradingpreset seen)"


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0007_exposure_limits"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="accountsnapshot",
            name="limits_checked_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="accountsnapshot",
            name="limits_checked_for",
            field=models.DateTimeField(
                help_text="`read_at` of the state that loss limits were last checked with.",
                null=True,
            ),
        ),
        migrations.CreateModel(
            name="LossLimit",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "window",
                    models.CharField(
                        choices=[
                            ("DAY", "the last 24 hours"),
                            ("DATE", "the trading day"),
                            ("WEEK", "the last 7 days"),
                            ("WEEK_TO_DATE", "the week to date"),
                            ("MONTH", "the last 30 days"),
                            ("MONTH_TO_DATE", "the month to date"),
                            ("QUARTER", "the last 91 days"),
                            ("QUARTER_TO_DATE", "the quarter to date"),
                            ("YEAR", "the last 365 days"),
                            ("YEAR_TO_DATE", "the year to date"),
                            ("LIFETIME", "all time"),
                        ],
                        default="DATE",
                        max_length=15,
                    ),
                ),
                (
                    "measure",
                    models.CharField(
                        choices=[
                            ("BALANCE", "Fall of the balance"),
                            ("BALANCE_TO_EQUITY", "Fall from balance to equity"),
                            ("EQUITY", "Fall of the equity"),
                            ("REALIZED_LOSS", "Loss of closed trades"),
                            ("LOSING_STREAK", "Losing trades in a row"),
                        ],
                        default="EQUITY",
                        max_length=17,
                    ),
                ),
                (
                    "basis",
                    models.CharField(
                        choices=[("OPENING", "its first value"), ("PEAK", "its highest value")],
                        db_default="OPENING",
                        default="OPENING",
                        max_length=7,
                        verbose_name="from",
                    ),
                ),
                ("maximum", AmountField(help_text="The limit is reached at this value.")),
                (
                    "unit",
                    models.CharField(
                        choices=[
                            ("AMOUNT", "Account currency"),
                            ("PERCENT", "Percent"),
                            ("TRADES", "Trades"),
                        ],
                        default="PERCENT",
                        max_length=7,
                    ),
                ),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("PAUSE", "Pause entries"),
                            ("PAUSE_AND_CLOSE", "Pause entries and close all positions"),
                        ],
                        db_default="PAUSE",
                        default="PAUSE",
                        max_length=15,
                    ),
                ),
                (
                    "resume",
                    models.CharField(
                        choices=[("NEXT_WINDOW", "When the window ends"), ("BY_HAND", "By hand")],
                        db_default="NEXT_WINDOW",
                        default="NEXT_WINDOW",
                        max_length=11,
                    ),
                ),
                (
                    "started_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Market time; earlier losses and peaks do not count. Empty: all count.",
                        null=True,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "preset",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="loss_limits",
                        to="connections.tradingpreset",
                    ),
                ),
                (
                    "subscription",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="loss_limits",
                        to="connections.subscription",
                    ),
                ),
            ],
            options={
                "ordering": ("id",),
            },
        ),
        migrations.CreateModel(
            name="TradingPause",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("code", models.CharField(max_length=64)),
                ("name", models.CharField(help_text="What was limited.", max_length=200)),
                ("value", AmountField()),
                ("maximum", AmountField()),
                (
                    "unit",
                    models.CharField(
                        choices=[
                            ("AMOUNT", "Account currency"),
                            ("PERCENT", "Percent"),
                            ("TRADES", "Trades"),
                        ],
                        max_length=7,
                    ),
                ),
                ("detail", models.CharField(max_length=300)),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("PAUSE", "Pause entries"),
                            ("PAUSE_AND_CLOSE", "Pause entries and close all positions"),
                        ],
                        max_length=15,
                    ),
                ),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("is_resumed_by_hand", models.BooleanField(db_default=False, default=False)),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="trading_pauses",
                        to="connections.executionconnection",
                    ),
                ),
                (
                    "ended_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "limit",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="pauses",
                        to="connections.losslimit",
                    ),
                ),
                (
                    "subscription",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: all entries of the account.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="trading_pauses",
                        to="connections.subscription",
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="AccountHistory",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("period_start", models.DateTimeField()),
                ("currency", models.CharField(max_length=10)),
                (
                    "read_at",
                    models.DateTimeField(help_text="When balance and equity were first read."),
                ),
                ("balance", AmountField()),
                ("equity", AmountField()),
                ("peak_balance", AmountField()),
                ("peak_balance_at", models.DateTimeField()),
                ("peak_equity", AmountField()),
                ("peak_equity_at", models.DateTimeField()),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="history",
                        to="connections.executionconnection",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "account history",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("connection", "period_start"), name="one_history_row_a_period"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="CashFlow",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(help_text="When the balance changed (market time).")),
                ("amount", AmountField(help_text="Account currency; below 0 for a withdrawal.")),
                (
                    "origin",
                    models.CharField(
                        choices=[("BROKER", "The broker"), ("OWNER", "Entered by hand")],
                        max_length=6,
                    ),
                ),
                (
                    "reference",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="The broker's own number.",
                        max_length=100,
                    ),
                ),
                ("note", models.CharField(blank=True, db_default="", default="", max_length=200)),
                ("created_at", models.DateTimeField(db_default=ClockTimestamp())),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="cash_flows",
                        to="connections.executionconnection",
                    ),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("-at", "-id"),
                "indexes": [
                    models.Index(fields=["connection", "at"], name="cash_flow_of_connection")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount", 0), _negated=True),
                        name="cash_flow_has_amount",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("reference", ""), _negated=True),
                        fields=("connection", "reference"),
                        name="one_cash_flow_a_reference",
                    ),
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="losslimit",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("preset__isnull", False), ("subscription__isnull", True)),
                    models.Q(("preset__isnull", True), ("subscription__isnull", False)),
                    _connector="OR",
                ),
                name="loss_limit_has_one_owner",
                violation_error_message="Set the preset or the subscription, not both.",
            ),
        ),
        migrations.AddConstraint(
            model_name="losslimit",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("maximum__gt", 0),
                    models.Q(
                        models.Q(("unit", "PERCENT"), _negated=True),
                        ("maximum__lte", 100),
                        _connector="OR",
                    ),
                ),
                name="loss_limit_maximum_range",
                violation_error_message="Maximum is above 0, and at most 100 percent.",
            ),
        ),
        migrations.AddConstraint(
            model_name="losslimit",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("measure", "LOSING_STREAK"), ("unit", "TRADES")),
                    models.Q(
                        models.Q(("measure", "LOSING_STREAK"), _negated=True),
                        models.Q(("unit", "TRADES"), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="loss_limit_unit_of_measure",
                violation_error_message="Losing trades in a row have the unit trades; other measures have the account currency or percent.",
            ),
        ),
        migrations.AddConstraint(
            model_name="losslimit",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("basis", "OPENING"),
                    ("measure__in", ("BALANCE", "BALANCE_TO_EQUITY", "EQUITY")),
                    _connector="OR",
                ),
                name="loss_limit_peak_of_balance_or_equity",
                violation_error_message="Only balance and equity have a peak.",
            ),
        ),
        migrations.AddConstraint(
            model_name="losslimit",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("window", "LIFETIME"), _negated=True),
                    ("resume", "BY_HAND"),
                    _connector="OR",
                ),
                name="loss_limit_of_all_time_by_hand",
                violation_error_message="A limit for all time ends no pause: resume by hand.",
            ),
        ),
        migrations.AddConstraint(
            model_name="losslimit",
            constraint=models.UniqueConstraint(
                condition=models.Q(("preset__isnull", False)),
                fields=("preset", "window", "measure", "basis"),
                name="one_loss_limit_of_preset",
                violation_error_message="The preset has a limit of this window and measure.",
            ),
        ),
        migrations.AddConstraint(
            model_name="losslimit",
            constraint=models.UniqueConstraint(
                condition=models.Q(("subscription__isnull", False)),
                fields=("subscription", "window", "measure", "basis"),
                name="one_loss_limit_of_subscription",
                violation_error_message="The subscription has a limit of this window and measure.",
            ),
        ),
        migrations.AddIndex(
            model_name="tradingpause",
            index=models.Index(fields=["connection", "ended_at"], name="pause_of_connection"),
        ),
        migrations.AddIndex(
            model_name="tradingpause",
            index=models.Index(
                condition=models.Q(("ended_at__isnull", True)), fields=["until"], name="pause_due"
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingpause",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_at__isnull", True)),
                fields=("connection", "limit"),
                name="one_pause_a_limit",
            ),
        ),
        tenant_rows("connections_losslimit", MY_LIMIT, read=VISIBLE_LIMIT),
        tenant_rows("connections_tradingpause", MY_CONNECTION_BY_SUBSELECT, add="false"),
        tenant_rows("connections_accounthistory", MY_CONNECTION_BY_SUBSELECT, write="false"),
        tenant_rows(
            "connections_cashflow",
            MY_CONNECTION_BY_SUBSELECT,
            write="false",
            add=MY_CONNECTION_BY_SUBSELECT,
        ),
        run_file(__file__, "loss_limits.sql"),
        track("connections_losslimit"),
        track("connections_tradingpause"),
        track("connections_cashflow"),
    ]
