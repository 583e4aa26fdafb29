"""Seal results as they become final, and those that are final already as of now. ADR 0055."""

from typing import Any

from django.db import migrations

BATCH = 500
# The trigger seals what an UPDATE leaves final. Each batch commits: a feed's head is updated for
# every link, and its earlier versions can only be cleaned up after a commit.
SEAL_BATCH = f"""
UPDATE analytics_feedtrade SET is_final = true WHERE signal_id IN (
  SELECT t.signal_id FROM analytics_feedtrade t
  WHERE t.is_final AND t.signal_id > %s AND NOT EXISTS (
    SELECT FROM signals_recordlink l WHERE l.signal_id = t.signal_id AND l.kind = 'RESULT')
  ORDER BY t.signal_id LIMIT {BATCH})
RETURNING signal_id
"""
DROP = "DROP TRIGGER IF EXISTS record_result ON analytics_feedtrade"
CREATE = (
    "CREATE TRIGGER record_result AFTER INSERT OR UPDATE ON analytics_feedtrade FOR EACH ROW"
    " WHEN (NEW.is_final) EXECUTE FUNCTION public.signals_add_record_result()"
)


def seal_existing(_apps: Any, schema_editor: Any) -> None:
    """Seal what was final before, in the order of publication; may be repeated."""
    with schema_editor.connection.cursor() as cursor:
        last = 0
        while True:
            cursor.execute(SEAL_BATCH, [last])
            sealed = [row[0] for row in cursor.fetchall()]
            if not sealed:
                return
            last = max(sealed)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("analytics", "0007_record_by_publication"),
        ("signals", "0025_sealed_results"),
    ]

    operations = [
        migrations.RunSQL((DROP, CREATE), DROP),
        migrations.RunPython(seal_existing, migrations.RunPython.noop),
    ]
