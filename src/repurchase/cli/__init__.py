"""The command line; imports nothing, so that signals are set before anything that takes long is imported."""
