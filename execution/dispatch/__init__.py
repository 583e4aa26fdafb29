"""Send orders to brokers and store the results: dispatcher, background calls, report writer."""
