"""Floor 4: the fake queue runner, the fake evaluator, the person at the web page."""
