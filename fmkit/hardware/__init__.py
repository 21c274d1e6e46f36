"""What is in this machine: NVIDIA, AMD, Apple, Intel, CPU, container limits. No torch."""
