"""What a data set is: manifests, the files they name, whether its parts go together, and made-up ones."""
