"""Floor 5: dispatchers that break one promise each, as small differences from the reference."""
