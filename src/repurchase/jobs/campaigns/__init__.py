"""Campaigns: planned, held out, measured."""
