"""What each counter of the audit means, and what to do when it is not 0."""

COUNTERS: dict[str, tuple[str, str]] = {
    "MISSING": (
        "a candidate of a published signal has no order",
        "Report it to the developers with the signal's number; nothing was sent for that account.",
    ),
    "EXTRA": (
        "an order whose account was no candidate",
        "Look at the subscription's intervals; close the position if it is not wanted.",
    ),
    "LOST": (
        "an order neither ended nor at a broker that nobody works on",
        "Start the workers; if they run, read their logs for the order's number.",
    ),
    "DUP": (
        "an order that the broker accepted more than once",
        "Close the surplus at the broker now, then report it: this must never happen.",
    ),
    "ORPHAN": (
        "a broker's order or position with our id that we have no row for",
        "Decide it in the drift inbox; after a restore see `manage.py new_epoch --status`.",
    ),
    "GHOST": (
        "a position that we call open and the broker does not have",
        "Wait for the next comparison, which closes it here; see the connection's drift.",
    ),
    "LIMBO": (
        "an order that is unknown for longer than its broker needs to answer",
        "Test the connection; look the order up at the broker, then settle its drift by hand.",
    ),
    "LATE": (
        "an entry sent after its signal's valid_until",
        "Compare the clocks (`manage.py doctor`), then report it.",
    ),
    "MISMATCH": (
        "a quantity that is not the sum of its fills",
        "Report it to the developers with the position's number; compare it with the broker.",
    ),
    "REVERSED": (
        "a position whose side was flipped by an exit",
        "Close it at the broker, then report it: this must never happen.",
    ),
    "RISEN": (
        "an order called never arrived that the broker did accept",
        "See its position at the broker; close what is not wanted, then report it.",
    ),
    "NAKED": (
        "an open position that should have a stop and has none for more than 5 s",
        "Set the stop at the broker now; see why the connection could not.",
    ),
}
