"""How exact and how fast fmkit is: each file prints a table."""
