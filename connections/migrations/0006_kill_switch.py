"""Kill switches halt a broker type or a symbol, too, and may cancel entries and close positions."""

from django.db import migrations, models

from common.migration_sql import run_file
from common.row_security import (
    MINE,
    MY_CONNECTION_BY_SUBSELECT,
    MY_CONNECTIONS_BY_SUBSELECT,
    SIGNED_IN,
    TENANT,
    tenant_rows,
)

MY_FEED = f"feed_id IN (SELECT mine.id FROM signals_feed mine WHERE mine.owner_id = {TENANT})"
MY_BROKER_TYPE = (
    "broker_type IN (SELECT mine.type FROM connections_executionconnection mine"
    f" WHERE mine.id IN ({MY_CONNECTIONS_BY_SUBSELECT}))"
)
HALTS_ME = (
    f"(scope IN ('ALL', 'SYMBOL') AND {SIGNED_IN}) OR {MINE} OR {MY_CONNECTION_BY_SUBSELECT}"
    f" OR {MY_BROKER_TYPE}"
    " OR feed_id IN (SELECT seen.id FROM signals_feed seen)"  # itself under its policy
)
# A tenant does not release what an operator set.
I_HALT = f"set_by_id = {TENANT} AND ({MINE} OR {MY_CONNECTION_BY_SUBSELECT} OR {MY_FEED})"

NO_NAME = {"broker_type": "", "pair": ""}
NO_ROW = {"feed": None, "user": None, "connection": None}


class Migration(migrations.Migration):
    dependencies = [("connections", "0005_order_limits")]

    operations = [
        # A column that a policy reads cannot be made longer; `tenant_rows` writes it again below.
        migrations.RunSQL("DROP POLICY IF EXISTS tenant_rows_select ON connections_killswitch"),
        migrations.RemoveConstraint("killswitch", "kill_switch_names_its_scope"),
        migrations.AlterField(
            model_name="killswitch",
            name="scope",
            field=models.CharField(
                choices=[
                    ("ALL", "All"),
                    ("FEED", "Feed"),
                    ("USER", "User"),
                    ("CONNECTION", "Connection"),
                    ("BROKER_TYPE", "Broker Type"),
                    ("SYMBOL", "Symbol"),
                ],
                max_length=11,
            ),
        ),
        migrations.AddField(
            model_name="killswitch",
            name="broker_type",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="A type of the registry.",
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="killswitch",
            name="pair",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Canonical BASE/QUOTE.",
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="killswitch",
            name="cancel_entries",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Also cancel the entries that have not filled.",
            ),
        ),
        migrations.AddField(
            model_name="killswitch",
            name="flatten",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Also close the open positions at the market.",
            ),
        ),
        migrations.AddField(
            model_name="killswitch",
            name="carried_out_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When these entries and positions had been processed.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="killswitch",
            constraint=models.CheckConstraint(
                condition=models.Q(scope="ALL", feed=None, user=None, connection=None, **NO_NAME)
                | models.Q(scope="FEED", feed__isnull=False, user=None, connection=None, **NO_NAME)
                | models.Q(scope="USER", user__isnull=False, feed=None, connection=None, **NO_NAME)
                | models.Q(
                    scope="CONNECTION", connection__isnull=False, feed=None, user=None, **NO_NAME
                )
                | models.Q(
                    models.Q(scope="BROKER_TYPE", pair="") & ~models.Q(broker_type=""), **NO_ROW
                )
                | models.Q(models.Q(scope="SYMBOL", broker_type="") & ~models.Q(pair=""), **NO_ROW),
                name="kill_switch_names_its_scope",
            ),
        ),
        migrations.AddConstraint(
            model_name="killswitch",
            constraint=models.CheckConstraint(
                condition=models.Q(flatten=False) | models.Q(mode="REDUCING"),
                name="flatten_needs_exits",
            ),
        ),
        migrations.AddIndex(
            model_name="killswitch",
            index=models.Index(
                fields=["id"],
                name="kill_switch_to_carry_out",
                condition=models.Q(released_at=None, carried_out_at=None)
                & (models.Q(cancel_entries=True) | models.Q(flatten=True)),
            ),
        ),
        tenant_rows("connections_killswitch", "false", read=HALTS_ME, write=I_HALT),
        run_file(__file__, "halt_guard.sql"),
    ]
