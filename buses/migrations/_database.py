"""What the models of `buses` do not say: who reaches which rows."""

from common.db.row_security import operator_rows

OPERATIONS = [
    operator_rows("buses_announcement", add=True),
    *(
        operator_rows(f"buses_{name}")
        for name in (
            "bussink", "deadletter", "sinkcursor", "busmessage", "busroute", "buslane",
        )
    ),
]  # fmt: skip
