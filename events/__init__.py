"""Notifications: the transactional outbox, inboxes, channels and deliveries."""
