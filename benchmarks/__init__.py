"""What Fillcast does in how much time, always beside a baseline in the same run.

`make bench` runs all of it on a PostgreSQL, a Redis and processes of its own; docs/performance.md
says what was seen. Nothing is turned off that production has.
"""
