"""Speed and memory side by side with what is used otherwise; each part is a program: `vhbench bench` runs them."""
