"""Floor 5: recorder plugins, and the harness's end of the recorder protocol."""
