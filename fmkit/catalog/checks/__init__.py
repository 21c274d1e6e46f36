"""The rules of `fmkit catalog check`, by what they are about; `fmkit.catalog.check` runs them all.

A rule takes the `Facts` and yields a `Fault` for each that it finds: the file, the entry, both figures, and what to do. A new rule is a function in the
module of its theme, its name in that module's `RULES`, and a planted fault in tests/catalog/test_check.py.
"""
