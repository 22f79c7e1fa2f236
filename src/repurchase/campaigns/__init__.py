"""Design, plan, target and measure randomised campaigns."""
