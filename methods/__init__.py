"""Built-in methods: one file a method, found by scanning this folder."""
