"""Price sources, the latest quote of each symbol, and currency conversion."""
