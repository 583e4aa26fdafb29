"""A Redis in pure Python, the last resort on a machine without a redis-server.

    python _fake_redis.py PORT    (reads and ignores the settings on standard input)

It stores nothing, is slow and checks no password: every user of this machine can send messages.
Database rows are the jobs, so such a message can only make a worker poll earlier.
"""

import sys
import threading


def main(port: int) -> None:
    """Serve until killed."""
    from fakeredis import TcpFakeServer

    sys.stdin.read()
    server = TcpFakeServer(("127.0.0.1", port), server_type="redis")
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    thread.join()


if __name__ == "__main__":
    main(int(sys.argv[1]))
