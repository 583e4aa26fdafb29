"""A process that publishes: `python -m benchmarks.peers.publisher MODULE`.

For each line of its input, a JSON list of a signal and its accounts, it publishes and prints one.
"""

import importlib
import json
import sys


def main() -> None:
    peer = importlib.import_module(sys.argv[1])
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        signal_id, connection_ids = json.loads(line)
        peer.publish(signal_id, connection_ids)
        print(json.dumps("published"), flush=True)


if __name__ == "__main__":
    main()
