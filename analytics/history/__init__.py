"""What a tenant did and has: signals, orders, trades, open tables, their trail."""
