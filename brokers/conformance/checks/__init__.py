"""The checks by what they are about. Importing this puts all of them into the list."""

from brokers.conformance.checks import (  # noqa: F401
    accounts,
    bad_input,
    bounds,
    changes,
    closing,
    dropped,
    events,
    listing,
    orders,
    outcomes,
    prices,
    quantities,
    reads,
    sessions,
)
