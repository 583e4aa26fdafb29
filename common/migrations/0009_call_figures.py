"""The figures of tasks and calls that `/metrics` shows; all processes add to them."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

from common.row_security import operator_rows


class Migration(migrations.Migration):
    dependencies = [("common", "0008_settings_versions")]

    operations = [
        migrations.CreateModel(
            name="CallFigure",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(max_length=12)),
                ("name", models.CharField(max_length=200)),
                ("operation", models.CharField(blank=True, max_length=40)),
                ("outcome", models.CharField(max_length=12)),
                ("seconds", models.FloatField()),
                ("counts", ArrayField(base_field=models.BigIntegerField(), size=None)),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("kind", "name", "operation", "outcome"), name="one_call_figure"
                    )
                ],
            },
        ),
        operator_rows("common_callfigure"),
    ]
