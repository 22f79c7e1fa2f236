"""Atomic writes, locks, deliveries, run records and scores files."""
