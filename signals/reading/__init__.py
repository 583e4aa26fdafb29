"""From a JSON object to a signal that is valid by itself, or all of its faults."""
