"""Cancel all entries or close all positions of one scope: the action, its pages, its result."""
