"""One file per use case: the only place that joins the other packages. This is the Python API."""
