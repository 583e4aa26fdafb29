"""MetaTrader 4 accounts by DWX Connect: an expert advisor in the terminal and files in a folder."""
