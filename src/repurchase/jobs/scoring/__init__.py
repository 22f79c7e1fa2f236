"""Customers scored, and the scores delivered."""
