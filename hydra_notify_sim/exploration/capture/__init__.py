"""Capture: a tap on a live Hydra records what can be seen from outside; a recording becomes a story."""
