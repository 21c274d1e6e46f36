"""The speed model against measurements: cases, fit, cross-validation, and what other tools would have said."""
