"""The checks by topic. Importing this package registers all of them."""

from conformance.checks import (  # noqa: F401
    accounts,
    cancels_and_levels,
    cash_flows,
    closing,
    dropped_levels,
    events,
    good_till_date,
    listing,
    order_changes,
    orders,
    outcomes,
    prices,
    quantities,
    reads,
    sessions,
    slices,
    stop_limit,
    trailing_stop,
    worst_price,
    wrong_settings,
)
