"""REST API of orders, positions, the execution log and drift items."""
