"""From a published signal to fills: fan-out, sizing, risk, the wire, reports, watch, sweeps."""
