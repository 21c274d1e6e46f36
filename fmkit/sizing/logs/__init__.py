"""Start-up logs of serving engines, read as text: what was allocated, and with which settings.

Nothing here sizes anything. One file per engine; `read_log` finds out which engine wrote a log.
"""
