"""Names of cards by their PCI ids, for machines where no vendor's tool is installed: the kernel states ids, and seldom a name.

One id is often several cards, which differ in their revision; where that says nothing of them, the name lists all that it may be.
"""

from __future__ import annotations

AMD: dict[str, dict[str, str]] = {
    "0x67df": dict.fromkeys(("0xc1", "0xc3", "0xe7"), "AMD Radeon RX 580"),
    "0x73af": {"0xc0": "AMD Radeon RX 6900 XT"},
    "0x73bf": {"0xc0": "AMD Radeon RX 6900 XT", "0xc1": "AMD Radeon RX 6800 XT", "0xc3": "AMD Radeon RX 6800"},
    "0x73df": {
        "0xc0": "AMD Radeon RX 6750 XT", "0xc1": "AMD Radeon RX 6700 XT", "0xc2": "AMD Radeon RX 6800M", "0xc3": "AMD Radeon RX 6800M",
        "0xc5": "AMD Radeon RX 6700 XT", "0xcf": "AMD Radeon RX 6700M", "0xd5": "AMD Radeon RX 6750 GRE", "0xdf": "AMD Radeon RX 6700",
        "0xe5": "AMD Radeon RX 6750 GRE", "0xff": "AMD Radeon RX 6700",
    },
    "0x73ff": {
        "0xc1": "AMD Radeon RX 6600 XT", "0xc3": "AMD Radeon RX 6600M", "0xc7": "AMD Radeon RX 6600", "0xcb": "AMD Radeon RX 6600S",
        "0xcf": "AMD Radeon RX 6600 LE", "0xdf": "AMD Radeon RX 6750 GRE",
    },
    "0x7408": {"0x00": "AMD Instinct MI250X"},
    "0x740c": {"0x01": "AMD Instinct MI250X / MI250"},
    "0x740f": {"0x02": "AMD Instinct MI210"},
    "0x743f": {
        "0xc1": "AMD Radeon RX 6500 XT", "0xc3": "AMD Radeon RX 6500 / 6500M", "0xc7": "AMD Radeon RX 6400", "0xc8": "AMD Radeon RX 6500M",
        "0xd7": "AMD Radeon RX 6400",
    },
    "0x744c": {
        "0xc8": "AMD Radeon RX 7900 XTX", "0xcc": "AMD Radeon RX 7900 XT", "0xce": "AMD Radeon RX 7900 GRE", "0xcf": "AMD Radeon RX 7900M",
    },
    "0x7470": {"0x00": "AMD Radeon Pro W7700"},
    "0x747e": {
        "0xc8": "AMD Radeon RX 7800 XT", "0xd8": "AMD Radeon RX 7800M", "0xdb": "AMD Radeon RX 7700", "0xff": "AMD Radeon RX 7700 XT",
    },
    "0x7480": {
        "0x00": "AMD Radeon Pro W7600", "0xc0": "AMD Radeon RX 7600 XT", "0xc1": "AMD Radeon RX 7700S", "0xc2": "AMD Radeon RX 7650 GRE",
        "0xc3": "AMD Radeon RX 7600S", "0xc7": "AMD Radeon RX 7600M XT", "0xcf": "AMD Radeon RX 7600",
    },
    "0x74a1": {"0x00": "AMD Instinct MI300X"},
    "0x74a5": {"0x00": "AMD Instinct MI325X"},
    "0x74b5": {"0x00": "AMD Instinct MI300X"},
    "0x7550": {"0xc0": "AMD Radeon RX 9070 XT", "0xc2": "AMD Radeon RX 9070 GRE", "0xc3": "AMD Radeon RX 9070"},
    "0x7551": {"0xc0": "AMD Radeon AI PRO R9700", "0xc8": "AMD Radeon AI PRO R9600D"},
    "0x7590": {"0xc0": "AMD Radeon RX 9060 XT", "0xc1": "AMD Radeon RX 9060 XT LP", "0xc7": "AMD Radeon RX 9060"},
    "0x75a3": {"0x00": "AMD Instinct MI355X"},
    "0x75b3": {"0x00": "AMD Instinct MI355X"},
}  # fmt: skip
"""Names by device and revision: data/amdgpu.ids of libdrm, as it was read in November 2026; a virtual function has the name of its card."""

INTEL: dict[str, str] = {
    "0x56a0": "Intel Arc A770",
    "0x56a1": "Intel Arc A750",
    "0x56a6": "Intel Arc A310",
    "0xe20b": "Intel Arc B580",
    "0xe211": "Intel Arc Pro B60",
}
"""Names by device: NAMEDDEVICE of intel/compute-runtime (0x56a0 to 0x56a6); pci.ids for 0xe20b; 0xe211 as xpu-smi and SYCL report it."""


def amd_name(device: str | None, revision: str | None, product: str | None = None) -> str:
    """The card with that PCI device and revision, else the name that its driver states; all that it may be in brackets where neither tells.

    >>> amd_name("0x744c", "0xcc"), amd_name("0x73bf", None), amd_name("0x9999", "0x00")
    ('AMD Radeon RX 7900 XT', 'AMD GPU 0x73bf (Radeon RX 6900 XT or Radeon RX 6800 XT or Radeon RX 6800)', 'AMD GPU 0x9999')
    """
    by_revision = AMD.get(device or "", {})
    if revision in by_revision:
        return by_revision[revision]
    if product:
        return product
    unknown, names = f"AMD GPU {device or ''}".strip(), dict.fromkeys(by_revision.values())
    return f"{unknown} ({' or '.join(name.removeprefix('AMD ') for name in names)})" if names else unknown


def intel_name(device: str | None) -> str:
    """The card with that PCI device.

    >>> intel_name("0xe20b"), intel_name("0x9999")
    ('Intel Arc B580', 'Intel GPU 0x9999')
    """
    return INTEL.get(device or "") or f"Intel GPU {device or ''}".strip()
