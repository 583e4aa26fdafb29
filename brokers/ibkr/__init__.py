"""Interactive Brokers by the TWS or Gateway socket, with ib_async's own client. No Django."""
