"""Floor 9: finds what no scripted scenario does: sweeps, campaigns, shrinking, counter-examples."""
