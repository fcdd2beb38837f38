"""What a conformance run and a kill matrix came to, promise by promise: for the terminal, CI, programs and a page."""
