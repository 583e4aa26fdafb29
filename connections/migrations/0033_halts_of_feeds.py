"""A feed's provider stops its entries, not its followers' exits: HALTED is for operators.

The halts of providers that hold exits now let them through. Who set one is no operator, so the
accounts of its followers were not theirs to hold; whether that is the owner still does not matter.
The audit trail has a line of each change, and the feed's owner and the operators are notified.
"""

from django.db import migrations

from common.migration_sql import run_file

LET_EXITS_THROUGH = """
WITH changed AS (
  UPDATE connections_killswitch k SET mode = 'REDUCING' FROM users_user u
  WHERE u.id = k.set_by_id AND NOT u.is_staff
    AND k.scope = 'FEED' AND k.mode = 'HALTED' AND k.released_at IS NULL
  RETURNING k.id, k.feed_id, k.reason)
INSERT INTO events_event (kind, user_id, payload)
SELECT 'kill_switch.changed', f.owner_id, jsonb_build_object('change', 'set', 'scope', 'FEED',
  'mode', 'REDUCING', 'feed_id', f.id,
  'reason', left('Since the upgrade it holds entries only. ' || c.reason, 200))
FROM changed c JOIN signals_feed f ON f.id = c.feed_id ORDER BY c.id
"""


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0032_accounts_by_type_and_lane"),
        ("events", "0011_sets_of_tenants"),
        ("signals", "0026_sets_of_tenants"),
        ("users", "0007_sets_of_tenants"),
    ]

    operations = [
        run_file(__file__, "halt_accounts_guard.sql"),
        migrations.RunSQL(LET_EXITS_THROUGH, migrations.RunSQL.noop),
    ]
