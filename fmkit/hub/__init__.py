"""The only network code: Hub metadata and configuration files, and what is already on this disk."""
