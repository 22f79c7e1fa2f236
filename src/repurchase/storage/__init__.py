"""Writing that either happens or does not: publication, locks, digests, and what an output may replace."""
