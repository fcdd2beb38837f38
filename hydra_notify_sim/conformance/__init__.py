"""Floor 9: all that we ship played against one dispatcher, or against every known-bad one, by several processes."""
