"""NATS JetStream: events go out, approved signals and fills of foreign connectors come in."""
