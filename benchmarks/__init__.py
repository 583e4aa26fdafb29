"""Performance benchmarks. Each measures Fillcast beside a baseline in the same run.

`make bench` runs all of them on their own PostgreSQL, Redis and processes. Nothing that production
uses is turned off. docs/performance.md has the results.
"""

from common.process.open_files import raise_limit

raise_limit()  # doubles of brokers are processes of their own, with a socket for each account
