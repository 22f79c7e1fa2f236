"""Repeat-purchase measures, segments, lists, contacts, products and economics."""
