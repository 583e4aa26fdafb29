"""How dates are written: the day before the month by name, times to the second, UTC."""
