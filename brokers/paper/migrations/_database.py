"""What the models of the paper broker do not say: for operators only, tickets, room for updates."""

from django.db import migrations

from common.db.row_security import operator_rows

OPERATIONS = [
    *(
        operator_rows(f"paper_{name}")
        for name in ("account", "instrument", "quote", "order", "fill", "position", "event")
    ),
    migrations.RunSQL(
        "CREATE SEQUENCE paper_ticket;"
        "ALTER TABLE paper_account SET (fillfactor = 70);"
        "ALTER TABLE paper_quote SET (fillfactor = 50);"
        "ALTER TABLE paper_position SET (fillfactor = 80)"
    ),
]
