"""What readers of models outside transformers share: their code is in the repository, and no class here proves the names.

Such a reader stands on the repository's own code, and its count on the published number of parameters.
"""

from __future__ import annotations

NOTE = (
    "transformers 5.23 has no class of this type: names follow the repository's code, and the total the published one"
)
