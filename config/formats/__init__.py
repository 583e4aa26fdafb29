"""Date formats: day, name of the month, year; times in UTC, to the second."""
