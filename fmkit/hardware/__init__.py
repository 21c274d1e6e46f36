"""What is in this machine: NVIDIA, AMD, Apple, Intel, CPU, container limits. No torch.

One file per probe, each a function that asks the machine and a pure parser that reads the answer. What a tool does not say
stays unknown.
"""

from fmkit.hardware.detect import detect as detect
