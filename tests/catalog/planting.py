"""What a test gets to plant a fault with."""

from collections.abc import Callable

from fmkit.catalog.faults import Fault

Plant = Callable[[str, str, str], list[Fault]]
"""Puts a text in the place of another in a file of a copied catalog (deletes the file for no text), and gives what `check` finds."""
