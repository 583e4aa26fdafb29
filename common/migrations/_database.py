"""What the models of `common` do not say: the audit trail's functions, who reaches which rows."""

from django.db import migrations

from common.db.audit_trail_sql import install
from common.db.migration_sql import run_file
from common.db.row_security import MINE, TRADE, append_only, operator_rows, shared_rows, tenant_rows
from common.db.table_statistics import CREATE_ANALYZE, FUNCTION

OPERATIONS = [
    # Only triggers write lines of the trail; config/migrations has the triggers on tables.
    *install(),
    tenant_rows("common_keptanswer", MINE),
    operator_rows("common_archivefile"),
    append_only("common_archivefile"),
    shared_rows("common_settingsversion"),
    append_only("common_settingsversion"),
    operator_rows("common_callfigure"),
    migrations.RunSQL(
        [
            CREATE_ANALYZE,
            f"REVOKE ALL ON {FUNCTION} FROM PUBLIC",
            f"GRANT EXECUTE ON {FUNCTION} TO {TRADE}",
        ]
    ),
    run_file(__file__, "disk.sql"),
]
