"""From a published signal to fills: fan-out, sizing, risk, the dispatcher, reports, watch,
sweeps."""
