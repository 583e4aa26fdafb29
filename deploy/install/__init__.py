"""Install on a server: settings for Docker Compose, and the commands around it.

Only Python's standard library, 3.9 or newer: these run on a server that has nothing else.
"""
