"""MetaTrader 4 over DWX files, against an expert advisor in a process of its own."""
