"""ModelSpec + Workload + Engine + Machine -> MemoryEstimate, and the inverse. Pure: numbers in, numbers out."""
