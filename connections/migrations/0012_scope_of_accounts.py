"""Among which accounts of a kind a number names one: a server's, a folder's, an owner's."""

from typing import Any

from django.db import migrations, models

# As the forms of these kinds said when this was written: what they say later, and whether a kind's
# package is installed where this runs, must not change what comes of it. Other kinds' connections
# get their scope with their next passed test (connections/claims.py).
NUMBERED_BY = {"mt4": "folder", "mt5-dwx": "folder", "mt5": "server"}
NAMED_BY_THEIR_OWNERS = ("crypto",)
LONGEST = 120


def give_scopes(apps: Any, _: Any) -> None:
    """Each connection of a kind whose numbers are not the only ones gets its scope."""
    found = apps.get_model("connections", "ExecutionConnection").objects
    scoped = found.filter(type__in=[*NUMBERED_BY, *NAMED_BY_THEIR_OWNERS])
    for one in scoped.only("id", "type", "settings", "user_id", "admin_id"):
        if scope := _scope_of(one):
            found.filter(pk=one.pk).update(account_scope=scope)


def _scope_of(one: Any) -> str:
    if one.type in NAMED_BY_THEIR_OWNERS:
        return f"owner {one.user_id or one.admin_id}"
    said = one.settings.get(NUMBERED_BY[one.type])
    return str(said or "").strip().casefold()[:LONGEST]


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0011_index_of_lanes"),
    ]

    operations = [
        migrations.AddField(
            model_name="executionconnection",
            name="account_scope",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                help_text="Among which accounts of the kind that names one; empty: among all.",
                max_length=120,
            ),
        ),
        migrations.RunPython(give_scopes, migrations.RunPython.noop),
    ]
