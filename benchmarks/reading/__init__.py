"""How many random shops, written in random layouts, languages and dialects, are read right, refused, or read wrong."""
