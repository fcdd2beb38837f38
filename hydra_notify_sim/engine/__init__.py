"""Floor 8: plays a scenario on a target, judges, and yields typed events."""
