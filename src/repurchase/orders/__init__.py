"""One cleaning pipeline: from raw rows to clean orders and a report (see ``schemas.ORDERS``)."""
