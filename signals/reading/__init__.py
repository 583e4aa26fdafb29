"""From a JSON object to a signal whose fields fit together, or all of its faults."""
