"""What brokers say, written down by one door: `apply.apply_reports`."""
