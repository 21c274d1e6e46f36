"""A model behind an OpenAI-compatible server, measured from outside: nothing is loaded here, and no weights are seen."""
