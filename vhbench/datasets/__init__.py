"""What a data set is: manifests, the files they name, and made-up ones."""
