"""A MetaTrader 4 or 5 terminal whose DWX expert advisor works on the files of a folder."""
