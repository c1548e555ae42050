"""Choosing hyper-parameters on held-out training videos: the space, the trials, the study and what it chose."""
