"""A MetaTrader 4 terminal with the DWX expert advisor, played on a folder."""
