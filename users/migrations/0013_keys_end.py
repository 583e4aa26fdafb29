"""Every API key ends. One from before ends 90 days after this migration, and a key of staff has no
scope for which its owner has no right today."""

from django.db import migrations, models

# common/permissions.py as it was when this was written: which scope goes with which right.
SCOPES = {
    "publish": ("publish_signals", "approve_signals", "manage_feeds"),
    "trade": ("trade", "retry_orders", "decide_differences"),
    "operate": (
        "manage_connections", "replace_credentials", "change_limits", "set_kill_switch",
        "release_kill_switch", "manage_price_sources", "share_price_sources", "manage_maintenance",
        "manage_paper_broker", "manage_schedules", "manage_users", "manage_api_keys",
    ),
}  # fmt: skip
TABLE = ", ".join(f"('{right}', '{scope}')" for scope, of in SCOPES.items() for right in of)
END = """
UPDATE users_apikey SET expires_at = now() + interval '90 days'
WHERE expires_at IS NULL OR expires_at > now() + interval '366 days'"""
# A tenant has every right over their own rows, so every scope. Reading stays: one's own rows.
NARROW = f"""
UPDATE users_apikey k SET scopes = ARRAY(
  SELECT scope FROM unnest(k.scopes) WITH ORDINALITY AS had(scope, place)
  WHERE scope = 'read' OR scope IN (
    SELECT goes.scope FROM (VALUES {TABLE}) AS goes(codename, scope)
    JOIN auth_permission p ON p.codename = goes.codename
    JOIN django_content_type t ON t.id = p.content_type_id AND t.app_label = 'users'
    WHERE EXISTS (SELECT FROM users_user_user_permissions own
                  WHERE own.user_id = k.user_id AND own.permission_id = p.id)
       OR EXISTS (SELECT FROM users_user_groups mine
                  JOIN auth_group_permissions has ON has.group_id = mine.group_id
                  WHERE mine.user_id = k.user_id AND has.permission_id = p.id))
  ORDER BY place)
FROM users_user u
WHERE u.id = k.user_id AND u.is_staff AND NOT u.is_superuser AND 'read' = ANY(k.scopes)
  AND k.revoked_at IS NULL"""


class Migration(migrations.Migration):
    dependencies = [("users", "0012_without_django_otp")]
    operations = [
        migrations.RunSQL([END, NARROW], migrations.RunSQL.noop),
        migrations.AlterField("apikey", "expires_at", models.DateTimeField()),
    ]
