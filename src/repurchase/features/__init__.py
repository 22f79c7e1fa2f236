"""Features: what is known of customers as of a day."""
