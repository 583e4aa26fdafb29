"""The columns of routed entries (docs/adr/0026)."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0015_routes"),
        ("execution", "0009_triggers"),
        ("positions", "0004_growing_positions"),
        ("signals", "0008_execution_style"),
    ]

    operations = [
        migrations.AddField(
            model_name="order",
            name="route_state",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "None"),
                    ("OPEN", "No account is chosen yet"),
                    ("HERE", "This account was chosen"),
                    ("MOVED", "Proven unsent; another account has the entry"),
                    ("LAST", "This account was chosen; no other one follows"),
                ],
                db_default="",
                default="",
                max_length=5,
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="routed_from",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                help_text="The connection that subscribes, of a routed entry.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="connections.executionconnection",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.UniqueConstraint(
                condition=models.Q(("route_state__in", ("OPEN", "HERE", "LAST"))),
                fields=("signal", "routed_from", "leg"),
                name="one_routed_entry",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("route_state", "MOVED"), _negated=True),
                    models.Q(("status__in", ("PENDING", "SUBMITTING", "UNKNOWN")), _negated=True),
                    _connector="OR",
                ),
                name="moved_is_unsent",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("route_state", ""), ("routed_from__isnull", True)),
                    models.Q(
                        ("leg__startswith", "entry"),
                        ("route_state__gt", ""),
                        ("routed_from__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="routed_entry_has_origin",
            ),
        ),
    ]
