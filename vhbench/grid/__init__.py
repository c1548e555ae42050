"""A grid of runs: asked for, put in order, worked off."""
