"""Pictures of results: what to draw (`figure`), how (`svg`), into which file (`files`), and for each result which figure (the others)."""
