"""The jobs that the commands run: one module per command."""
