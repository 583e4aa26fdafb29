"""The checks by topic. Importing this package registers all of them."""

from conformance.checks import (  # noqa: F401
    accounts,
    cancels_and_levels,
    closing,
    dropped_levels,
    events,
    listing,
    orders,
    outcomes,
    prices,
    quantities,
    reads,
    sessions,
    worst_price,
    wrong_settings,
)
