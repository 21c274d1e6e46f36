"""How the capability model is fitted and held to account: the catalog's scores as cells, the fit, held-out errors."""
