"""What the models of `execution` do not say: who reaches which rows, what no code may change."""

from django.db import migrations

from common.db.migration_sql import run_file
from common.db.row_security import (
    MINE,
    MY_CONNECTION,
    TRADE,
    append_only,
    operator_rows,
    shared_rows,
    tenant_rows,
)

# After a restore, trading processes move the numbers of rows forward: none is given out twice.
NUMBERED = ("signals_signal", "positions_executionposition", "execution_order", "events_event")
NUMBERS_MAY_JUMP = ";".join(
    f"GRANT UPDATE ON SEQUENCE {table}_id_seq TO {TRADE}" for table in NUMBERED
)

OPERATIONS = [
    *(
        tenant_rows(f"execution_{name}", MY_CONNECTION)
        for name in ("order", "driftitem", "accountsyncstate")
    ),
    *(
        tenant_rows(f"execution_{name}", MY_CONNECTION, write="false")
        for name in ("fill", "entrydecision", "sliceplan", "ordertrigger", "archivedorder")
    ),
    *(
        tenant_rows(f"execution_{name}", MY_CONNECTION, write="false", add=MY_CONNECTION)
        for name in ("executionlog", "entrychange")
    ),
    tenant_rows("execution_scopedaction", MINE, write="false", add=MINE),
    *(
        append_only(f"execution_{name}")
        for name in ("executionlog", "scopedaction", "archivedorder")
    ),
    shared_rows("execution_levelscanheartbeat"),
    *(
        operator_rows(f"execution_{name}")
        for name in (
            "workerlease", "droppedmessagecount", "auditrun", "levelmonitorheartbeat",
            "brokerlisting", "outcomecheck", "streamlease", "pricepeak", "voidedfill",
            "watchdogping",
        )
    ),
    *(
        run_file(__file__, f"{name}.sql")
        for name in (
            "triggers", "order_status", "traded_entries", "archived_lines", "archived_orders",
            "backlog",
        )
    ),
    migrations.RunSQL(NUMBERS_MAY_JUMP),
    migrations.RunSQL("ALTER TABLE execution_streamlease SET UNLOGGED"),
    migrations.RunSQL("INSERT INTO execution_levelscanheartbeat (id) VALUES (1)"),
]  # fmt: skip
