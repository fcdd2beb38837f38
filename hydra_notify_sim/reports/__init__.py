"""Floor 9: from the events of a run to what people and programs read."""
