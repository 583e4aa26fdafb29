"""The meaning of each audit counter, and what to do if it is not 0."""

# (meaning, remedy) by counter
COUNTERS: dict[str, tuple[str, str]] = {
    "MISSING": (
        "a candidate of a published signal has no order",
        "Report it to the developers with the signal's number. Nothing was sent for that account.",
    ),
    "EXTRA": (
        "an order whose account was not a candidate",
        "Check the subscription's intervals. Close the position if you do not want it.",
    ),
    "LOST": (
        "an order that no process works on, neither ended nor at a broker",
        "Start the workers. If they run, search their logs for the order's number.",
    ),
    "DUP": (
        "an order that the broker accepted more than once",
        "Close the surplus at the broker now, then report it to the developers.",
    ),
    "ORPHAN": (
        "a broker's order or position with our id and without a row here",
        "Decide it in the drift inbox. After a restore run `manage.py new_epoch --status`.",
    ),
    "GHOST": (
        "a position that is open here and not at the broker",
        "Wait for the next comparison, which closes it here. Check the connection's drift.",
    ),
    "LIMBO": (
        "an order that is unknown for longer than its broker needs to answer",
        "Test the connection, look the order up at the broker, then decide its drift.",
    ),
    "LATE": (
        "an entry sent after its signal's valid_until",
        "Compare the clocks (`manage.py doctor`), then report it to the developers.",
    ),
    "MISMATCH": (
        "a quantity that differs from the sum of its fills",
        "Compare it with the broker, and report it to the developers with the position's number.",
    ),
    "REVERSED": (
        "a position that an exit has reversed",
        "Close it at the broker now, then report it to the developers.",
    ),
    "RISEN": (
        "an order marked as never arrived that the broker did accept",
        "Check its position at the broker, close what you do not want, then report it.",
    ),
    "NAKED": (
        "an open position that should have a stop and has none for more than 5 s",
        "Set the stop at the broker now. Then find out why the connection did not.",
    ),
}
