"""A Redis in pure Python, for machines where no redis-server can be had: a last resort.

    python _fake_redis.py PORT    (the settings that come on standard input name the password)

It keeps nothing, is slow, and knows no password: whoever is on this machine can ring the bell.
Rows are the jobs, so all that a stranger can do is to make a worker look earlier.
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
