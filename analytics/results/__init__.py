"""Results of closed trades: figures, equity, reports, tables."""
