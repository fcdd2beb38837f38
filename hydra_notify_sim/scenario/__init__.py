"""Floor 7: the scenario language: model, YAML in and out, with positions."""
