"""A stand-in for the Hugging Face Hub on this machine: two origins on loopback, faults on demand, no network."""
