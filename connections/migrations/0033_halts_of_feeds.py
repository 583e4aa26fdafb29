"""A feed's provider stops its entries, not its followers' exits: HALTED is for operators.

The halts of providers that hold exits now let them through. Who set one is no operator, so the
accounts of its followers were not theirs to hold; whether that is the owner still does not matter.
"""

from django.db import migrations

from common.migration_sql import run_file

LET_EXITS_THROUGH = """
UPDATE connections_killswitch k SET mode = 'REDUCING' FROM users_user u
WHERE u.id = k.set_by_id AND NOT u.is_staff
  AND k.scope = 'FEED' AND k.mode = 'HALTED' AND k.released_at IS NULL
"""


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0032_accounts_by_type_and_lane"),
        ("signals", "0026_sets_of_tenants"),
        ("users", "0007_sets_of_tenants"),
    ]

    operations = [
        run_file(__file__, "halt_accounts_guard.sql"),
        migrations.RunSQL(LET_EXITS_THROUGH, migrations.RunSQL.noop),
    ]
