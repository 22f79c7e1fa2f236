"""Lists that a marketer acts on."""
