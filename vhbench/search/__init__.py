"""Galleries of codes and their nearest neighbours."""
