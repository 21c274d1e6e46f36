"""The catalog's facts held against witnesses: parameters, context and licence, one file each; what both sides say, and why they differ."""
