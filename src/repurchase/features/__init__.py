"""CUT and DERIVE: from orders and a day to one row of features per customer."""
