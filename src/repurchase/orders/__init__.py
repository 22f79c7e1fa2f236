"""READ and CLEAN: from an export to orders (see ``tables.ORDERS``)."""
