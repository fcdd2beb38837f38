"""Floor 1: the contract itself: channels and payloads, status codes, the promises. Pure."""
