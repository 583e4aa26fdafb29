"""The sealed record of a feed: its links, its heads, its results, and their check."""
