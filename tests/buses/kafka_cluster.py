"""A program: three mock brokers of librdkafka, which speak Kafka's protocol. Prints their addresses
and runs until it is killed.

No Kafka broker can be had as a package here. The mock keeps topics, partitions, offsets and
producer ids, and answers as brokers do; it does not keep data when it ends.
"""

import signal
import sys

from confluent_kafka import Producer

if __name__ == "__main__":
    cluster = Producer({"test.mock.num.brokers": 3, "message.max.bytes": 1_000_000, "log_level": 0})
    brokers = cluster.list_topics(timeout=60).brokers.values()
    sys.stdout.write(",".join(f"{broker.host}:{broker.port}" for broker in brokers) + "\n")
    sys.stdout.flush()
    signal.pause()
