"""Tables from recorded runs."""
