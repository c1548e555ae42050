"""How the runs of a grid are worked off: here, in processes of this machine, on a cluster."""
