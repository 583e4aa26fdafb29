"""Whether accounts can be used: tests, readings, failures, retries and maintenance windows."""
