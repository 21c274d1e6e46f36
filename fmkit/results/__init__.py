"""What each command answers, as types: the JSON contract. `api` makes them, `report` prints them, programs decode them."""
