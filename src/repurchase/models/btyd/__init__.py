"""Buy-till-you-die models: BG/NBD, MBG/NBD and Gamma-Gamma."""
