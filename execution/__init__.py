"""The order engine: from a published signal to fills, exits and reconciliation."""
