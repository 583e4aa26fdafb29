"""Scopes of API keys. Keys that are there keep what they may: everything that their owners may."""

import django.contrib.postgres.fields
from django.db import migrations, models

from common.permissions import only_reading


def scopes(default):
    return django.contrib.postgres.fields.ArrayField(
        base_field=models.CharField(max_length=16), default=default, size=None
    )


def all_scopes():
    return ["read", "trade", "publish", "operate"]


class Migration(migrations.Migration):
    dependencies = [("users", "0008_second_factor")]

    operations = [
        migrations.AddField("apikey", "scopes", scopes(all_scopes)),
        migrations.AlterField("apikey", "scopes", scopes(only_reading)),
        migrations.AddConstraint(
            "apikey",
            models.CheckConstraint(
                condition=models.Q(
                    ("scopes__contained_by", ["read", "trade", "publish", "operate"]),
                    ("scopes__len__gt", 0),
                ),
                name="a_key_has_known_scopes",
            ),
        ),
    ]
