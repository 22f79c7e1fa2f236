"""Accuracy and speed, measured beside what else there is."""
