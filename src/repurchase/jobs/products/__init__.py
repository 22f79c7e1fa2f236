"""Products: how often bought again, when they run out, and what goes with them."""
