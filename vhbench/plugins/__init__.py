"""How methods, protocols and launchers are found."""
