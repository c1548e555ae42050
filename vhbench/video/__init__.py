"""From video files to frame features: what `vhbench extract` does. Needs `pip install "vhbench[video]"`."""
