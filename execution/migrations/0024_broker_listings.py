"""What brokers list of accounts for the audit, and which accounts an audit could not judge."""

import django.db.models.deletion
from django.db import migrations, models

from common.row_security import operator_rows


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0023_slippage_units"),
        ("connections", "0028_slippage_units"),
    ]
    operations = [
        migrations.CreateModel(
            name="BrokerListing",
            fields=[
                ("connection", models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name="+", serialize=False, to="connections.executionconnection")),
                ("requested_at", models.DateTimeField(help_text="Machine time; an audit waits for it.", null=True)),
                ("claimed_until", models.DateTimeField(help_text="Until then one process reads it, and no other.", null=True)),
                ("began_at", models.DateTimeField(help_text="When the last whole read began.", null=True)),
                ("executed_since", models.DateTimeField(help_text="Broker's time: executions from then on are in the list.", null=True)),
                ("orders", models.JSONField(db_default=[], default=list, help_text="Ours: client order id, broker's id, executed.")),
                ("positions", models.JSONField(db_default=[], default=list, help_text="Position id, side, quantity, client order id.")),
                ("failed_at", models.DateTimeField(null=True)),
                ("reason", models.CharField(blank=True, db_default="", default="", max_length=64)),
                ("detail", models.CharField(blank=True, db_default="", default="", max_length=300)),
            ],
        ),
        operator_rows("execution_brokerlisting"),
        migrations.AddField(
            model_name="auditrun",
            name="judged",
            field=models.IntegerField(db_default=0, default=0, help_text="Accounts judged by what their brokers listed."),
        ),
        migrations.AddField(
            model_name="auditrun",
            name="not_judged",
            field=models.JSONField(db_default=[], default=list, help_text="Accounts that could not be judged, and why."),
        ),
    ]
