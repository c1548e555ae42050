"""Built-in protocols, found by scanning this folder; each module has a function `protocols()`."""
