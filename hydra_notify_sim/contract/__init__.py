"""Floor 1: the contract itself: channels and payloads, status codes, the promises, profiles, Hydra's quirks. Pure."""
