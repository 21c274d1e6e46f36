"""One file per command: parse, call api, hand the result to report."""
