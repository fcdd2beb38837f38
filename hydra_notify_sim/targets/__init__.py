"""Floor 6: a dispatcher under test: started, watched, held at a point, crashed, stopped."""
