"""SHOW: figures and the page."""
