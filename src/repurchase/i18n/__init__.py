"""Message catalogues and locale-aware formatting."""
