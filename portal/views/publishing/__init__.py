"""A provider's own feeds: pages of a feed, its signals, drafts, followers and settings."""
