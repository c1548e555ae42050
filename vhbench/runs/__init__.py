"""What a run is, where it is kept, and what is made of finished ones."""
