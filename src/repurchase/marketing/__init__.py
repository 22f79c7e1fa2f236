"""ACT: measures of repeat business, from orders and scores alone."""
