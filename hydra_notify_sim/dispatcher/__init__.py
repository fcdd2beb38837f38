"""Floor 4: the reference dispatcher, which keeps every promise of the contract."""
