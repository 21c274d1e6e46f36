"""Constraints, licences, capability, cost, ranking, explanation -> Recommendation. Pure."""
