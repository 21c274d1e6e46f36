"""Curated facts: schema, loader, compiler, checker of catalog/; returns the types of the pure packages."""
