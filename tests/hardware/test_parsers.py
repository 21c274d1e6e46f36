"""Each probe's parser on what the real tool or kernel printed, recorded in public reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmkit.hardware import amd, amd_smi, apple, cpu, intel, nvidia
from fmkit.units import GIB, MIB

# nvidia-smi --query-gpu=index,uuid,name,memory.total,memory.free,driver_version --format=csv,noheader,nounits
TWO_CARDS = """\
0, GPU-5f1c1a2e-0001, NVIDIA GeForce RTX 4090, 24564, 22516, 550.54.14
1, GPU-9a77c3b4-0002, NVIDIA GeForce RTX 3090, 24576, 24253, 550.54.14
"""
# A DGX Spark answers `NVIDIA GB10, [N/A], 580.126.09`: its memory is the system's.
SPARK = "0, GPU-10, NVIDIA GB10, [N/A], [N/A], 580.126.09\n"


def test_nvidia_cards_and_their_memory() -> None:
    first, second = nvidia.parse(TWO_CARDS, {})
    assert (first.name, first.memory_bytes, first.free_bytes) == ("NVIDIA GeForce RTX 4090", 24564 * MIB, 22516 * MIB)
    assert (second.name, second.driver) == ("NVIDIA GeForce RTX 3090", "550.54.14")
    assert not first.unified_memory


@pytest.mark.parametrize(
    ("visible", "names"),
    [("1", ["3090"]), ("1,0", ["3090", "4090"]), ("", []), ("-1", []), ("0,7,1", ["4090"]), ("GPU-9a77", ["3090"])],
)
def test_cuda_visible_devices_narrows_as_it_does_for_cuda(visible: str, names: list[str]) -> None:
    found = nvidia.parse(TWO_CARDS, {"CUDA_VISIBLE_DEVICES": visible})
    assert [card.name.split()[-1] for card in found] == names


def test_shared_memory_is_unknown_not_zero() -> None:
    (board,) = nvidia.parse(SPARK, {})
    assert board.memory_bytes is None
    assert board.free_bytes is None
    assert board.unified_memory


@pytest.mark.parametrize(
    "output", ["", "No devices were found\n", "NVIDIA-SMI has failed because it couldn't communicate\n"]
)
def test_nvidia_smi_without_a_card(output: str) -> None:
    assert nvidia.parse(output, {}) == []


# nvidia-smi -L, seven instances of 1g.10gb on one card (DataDog/datadog-agent#33120)
SEVEN = """\
GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-7fdaf0a5-179b-f636-d15d-daf243e3ff16)
  MIG 1g.10gb     Device  0: (UUID: MIG-feb88891-0321-5fef-9c87-d4af3b54259e)
  MIG 1g.10gb     Device  1: (UUID: MIG-a25704ba-3a06-5299-a795-fd7cf4d13973)
"""
# rows of nvidia-smi's table of MIG devices (XuehaiPan/nvitop#8): 19,968 MiB of a 2g.20gb
MIG_TABLE = """\
| MIG devices:                                                                |
+------------------+----------------------+-----------+-----------------------+
| GPU  GI  CI  MIG |         Memory-Usage |        Vol|         Shared        |
|==================+======================+===========+=======================|
|  1    3   0   0  |  14366MiB / 19968MiB | 28      0 |  2   0    1    0    0 |
|                  |      4MiB / 32767MiB |           |                       |
|  1    5   0   1  |   9826MiB / 19968MiB | 28      0 |  2   0    1    0    0 |
|                  |      2MiB / 32767MiB |           |                       |
"""
SECOND_CARD_CUT = """\
GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-d8594bd4-0fc3-8595-e355-7c98138f3b95)
GPU 1: NVIDIA A100-SXM4-80GB (UUID: GPU-513536b6-7d19-9063-b049-1e69664bb298)
  MIG 2g.20gb     Device  0: (UUID: MIG-ce861fb0-a248-58ce-a9a8-f9adbc22a66a)
  MIG 2g.20gb     Device  1: (UUID: MIG-a45882f0-9215-5733-a0c1-49286ab31cb5)
"""
# the answer to QUERY on that machine, in the form of TWO_CARDS
TWO_A100 = """\
0, GPU-d8594bd4-0fc3-8595-e355-7c98138f3b95, NVIDIA A100-SXM4-80GB, 81920, 80994, 470.57.02
1, GPU-513536b6-7d19-9063-b049-1e69664bb298, NVIDIA A100-SXM4-80GB, 81920, 57721, 470.57.02
"""


def test_a_program_gets_one_instance_of_a_card_that_is_cut_up() -> None:
    (one,) = nvidia.instances(TWO_A100, SECOND_CARD_CUT, MIG_TABLE, {})
    assert one.name == "NVIDIA A100-SXM4-80GB MIG 2g.20gb"
    assert (one.memory_bytes, one.free_bytes) == (19968 * MIB, (19968 - 14366) * MIB)
    (named,) = nvidia.instances(TWO_A100, SECOND_CARD_CUT, MIG_TABLE, {"CUDA_VISIBLE_DEVICES": "MIG-a45882f0"})
    assert named.free_bytes == (19968 - 9826) * MIB


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("0", ["NVIDIA A100-SXM4-80GB"]),
        ("GPU-d8594bd4", ["NVIDIA A100-SXM4-80GB"]),
        ("1", ["NVIDIA A100-SXM4-80GB MIG 2g.20gb"]),
        ("GPU-513536b6-7d19", ["NVIDIA A100-SXM4-80GB MIG 2g.20gb"]),
        ("0,1", ["NVIDIA A100-SXM4-80GB MIG 2g.20gb"]),  # no whole card beside an instance
        ("0,7,1", ["NVIDIA A100-SXM4-80GB"]),
        ("MIG-unheard-of", []),
        ("", []),
        ("-1", []),
    ],
)
def test_a_whole_card_beside_one_that_is_cut_up_is_had_by_naming_it(visible: str, names: list[str]) -> None:
    found = nvidia.instances(TWO_A100, SECOND_CARD_CUT, MIG_TABLE, {"CUDA_VISIBLE_DEVICES": visible})
    assert [one.name for one in found] == names
    assert all(one.memory_bytes == (19968 if "MIG" in one.name else 81920) * MIB for one in found)


def test_an_instance_whose_memory_no_table_shows_is_unknown_not_the_cards() -> None:
    (one,) = nvidia.instances("", SEVEN, "", {})
    assert (one.name, one.memory_bytes) == ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", None)


# rocm-smi --showproductname --showmeminfo vram --json on a Radeon RX 7900 XT (marimo-team/marimo#9237)
RADEON = """\
{"card0": {"GPU use (%)": "0", "VRAM Total Memory (B)": "21458059264", "VRAM Total Used Memory (B)": "27856896",
 "Card Series": "Radeon RX 7900 XT", "Card Model": "0x744c", "Card Vendor": "Advanced Micro Devices, Inc. [AMD/ATI]",
 "Card SKU": "D70401XT", "GFX Version": "gfx1100"}}"""
# the second card is the processor's own graphics with 64 MiB (mudler/LocalAI#7761)
WITH_INTEGRATED = """\
WARNING: AMD GPU device(s) is/are in a low-power state.
{"card1": {"VRAM Total Memory (B)": "67108864", "VRAM Total Used Memory (B)": "26079232", "Card Series": "Raphael"},
 "card0": {"VRAM Total Memory (B)": "17163091968", "VRAM Total Used Memory (B)": "692142080",
 "Card Series": "Navi 21 [Radeon RX 6800/6800 XT / 6900 XT]"}, "system": {"Driver version": "6.8.5"}}"""


def test_amd_card() -> None:
    (card,) = amd.parse(RADEON)
    assert card.name == "Radeon RX 7900 XT"
    assert (card.memory_bytes, card.free_bytes) == (21458059264, 21458059264 - 27856896)


def test_amd_revision_goes_before_a_name_of_several_cards() -> None:
    series = "Navi 31 [Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M]"
    (card,) = amd.parse(RADEON.replace("Radeon RX 7900 XT", series).replace("D70401XT", 'x", "Device Rev": "0xcc'))
    assert card.name == "AMD Radeon RX 7900 XT"


# amd-smi static --asic --vram --json, shortened: the list of earlier releases and the object of later ones
MI210 = """\
[{"gpu": 0, "asic": {"market_name": "AMD Instinct MI210", "device_id": "0x740f", "rev_id": "0x02"},
  "vram": {"type": "HBM2E", "size": {"value": 65520, "unit": "MB"}}}]"""
MI300X = """\
Permission needed to access required GPU device node(s):
{"gpu_data": [
 {"gpu": 0, "asic": {"market_name": "AMD Instinct MI300X", "vendor_id": "0x1002", "device_id": "0x74a1", "rev_id": "0x00"},
  "vram": {"type": "HBM3", "size": {"value": 196592, "unit": "MB"}}},
 {"gpu": 1, "asic": "N/A", "vram": {"size": "N/A"}}]}"""
MI300X_USED = """\
{"gpu_data": [{"gpu": 0, "mem_usage": {"total_vram": {"value": 196592, "unit": "MB"}, "used_vram": {"value": 285, "unit": "MB"}}}]}"""


def test_amd_smi() -> None:
    (older,) = amd_smi.parse(MI210, "")
    assert (older.name, older.memory_bytes, older.free_bytes) == ("AMD Instinct MI210", 65520 * MIB, None)
    (newer,) = amd_smi.parse(MI300X, MI300X_USED)
    assert (newer.name, newer.memory_bytes, newer.free_bytes) == ("AMD Instinct MI300X", 196592 * MIB, 196307 * MIB)


@pytest.mark.parametrize("output", ["", "error", "[", "{", '{"gpu_data": 1}', '[{"gpu": "a"}]', "[1]", "{}"])
def test_amd_smi_without_an_answer(output: str) -> None:
    assert amd_smi.parse(output, output) == []


def test_amd_integrated_graphics_is_no_card() -> None:
    (card,) = amd.parse(WITH_INTEGRATED)
    assert card.memory_bytes == 17163091968


@pytest.mark.parametrize("output", ["", "ERROR: no driver", "{", '{"card0": []}', '{"card0": {}}'])
def test_amd_without_an_answer(output: str) -> None:
    assert amd.parse(output) == []


def drm_card(folder: Path, name: str, files: dict[str, str]) -> None:
    device = folder / name / "device"
    for path, text in files.items():
        file = device / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")


def test_amd_from_the_kernel(tmp_path: Path) -> None:
    drm_card(
        tmp_path,
        "card1",
        {"vendor": "0x1002", "device": "0x744c", "revision": "0xcc", "mem_info_vram_total": "21458059264"},
    )
    drm_card(tmp_path, "card0", {"vendor": "0x8086", "device": "0x56a0"})
    (card,) = amd.from_sysfs(tmp_path)
    assert (card.name, card.memory_bytes, card.free_bytes) == ("AMD Radeon RX 7900 XT", 21458059264, None)


def test_intel_from_the_kernel(tmp_path: Path) -> None:
    drm_card(tmp_path, "card0", {"vendor": "0x8086", "device": "0x9a49"})  # integrated: no memory of its own
    drm_card(
        tmp_path, "card1", {"vendor": "0x8086", "device": "0xe20b", "tile0/physical_vram_size_bytes": str(12 * GIB)}
    )
    (card,) = intel.from_sysfs(tmp_path)
    assert (card.name, card.memory_bytes) == ("Intel Arc B580", 12 * GIB)
    assert intel.from_sysfs(tmp_path / "absent") == []


SYSCTL_M1_PRO = "machdep.cpu.brand_string: Apple M1 Pro\nhw.memsize: 17179869184\n"
SYSCTL_INTEL = "machdep.cpu.brand_string: Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz\nhw.memsize: 17179869184\n"
VM_STAT = """\
Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                                    11887.
Pages active:                                 467336.
Pages inactive:                               363803.
Pages speculative:                            102040.
Pages throttled:                                   0.
Pages wired down:                             196995.
Pages purgeable:                                1044.
"Translation faults":                     1179544352.
File-backed pages:                            264584.
"""


def test_apple_chip() -> None:
    chip = apple.parse(SYSCTL_M1_PRO, VM_STAT)
    assert chip is not None
    assert (chip.name, chip.memory_bytes, chip.unified_memory) == ("Apple M1 Pro", 16 * GIB, True)
    assert chip.free_bytes == 16384 * (11887 + 363803 + 102040 + 1044)
    assert apple.parse(SYSCTL_INTEL, VM_STAT) is None
    assert apple.free_bytes("") is None


def test_cpuinfo_without_a_name() -> None:
    assert cpu.parse_cpuinfo("processor\t: 0\nBogoMIPS\t: 108.00\n") == "CPU"
    assert cpu.parse_cpuinfo("model name\t: AMD EPYC  7B13\nmodel name\t: AMD EPYC 7B13\n") == "AMD EPYC 7B13"
    assert cpu.parse_meminfo("") == (None, None)


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_cgroup_v2_and_its_parents_bind(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "kube/memory.max": str(4 * GIB),
            "kube/memory.current": str(GIB),
            "kube/pod/memory.max": "max",
            "kube/pod/cpu.max": "150000 100000",
            "kube/cpu.max": "max 100000",
        },
    )
    groups = cpu.group_folders("0::/kube/pod\n", root)
    assert cpu.memory_limit(groups) == (4 * GIB, GIB)
    assert cpu.cpu_quota(groups) == 1


def test_cgroup_v1(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "memory/docker/a/memory.limit_in_bytes": str(2 * GIB),
            "memory/docker/a/memory.usage_in_bytes": str(GIB),
            "memory/memory.limit_in_bytes": "9223372036854771712",
            "cpu,cpuacct/docker/a/cpu.cfs_quota_us": "400000",
            "cpu,cpuacct/docker/a/cpu.cfs_period_us": "100000",
        },
    )
    groups = cpu.group_folders("4:memory:/docker/a\n3:cpu,cpuacct:/docker/a\n0::/\n", root)
    assert cpu.memory_limit(groups) == (2 * GIB, GIB)
    assert cpu.cpu_quota(groups) == 4


@pytest.mark.parametrize(
    ("stat", "used_mib"),
    [("anon 700000000\ninactive_file 629145600\nactive_file 100\n", 424), ("cache 1\ninactive_file 0\ntotal_inactive_file 629145600\n", 424),
     ("inactive_file 9663676416\n", 0), ("", 1024)],
)  # fmt: skip
def test_a_model_that_was_read_does_not_use_up_a_container(stat: str, used_mib: int, tmp_path: Path) -> None:
    """600 MiB of 1 GiB are pages of files that were read once: version 2, version 1 with groups below, more than all, and unsaid."""
    root = write(tmp_path, {"memory.max": str(2 * GIB), "memory.current": str(GIB), "memory.stat": stat})
    assert cpu.memory_limit([root]) == (2 * GIB, used_mib * MIB)


def test_memories_that_a_cpuset_allows() -> None:
    assert cpu.parse_nodes("Mems_allowed:\t00000000,00000001\nMems_allowed_list:\t0\n") == 1
    assert cpu.parse_nodes("Mems_allowed_list:\t0-3\n") == 4
    assert cpu.parse_nodes("Name:\tpython\n") is None


def test_no_limit(tmp_path: Path) -> None:
    root = write(tmp_path, {"memory.max": "max", "cpu.max": "max 100000", "cpu/cpu.cfs_quota_us": "-1"})
    groups = cpu.group_folders("0::/../..\n1:cpu:/\n", root)
    assert cpu.memory_limit(groups) == (None, None)
    assert cpu.cpu_quota(groups) is None


def test_a_container_sees_its_limit_not_the_host(tmp_path: Path) -> None:
    proc = write(
        tmp_path / "proc",
        {
            "meminfo": "MemTotal:       24684100 kB\nMemAvailable:   24236312 kB\n",
            "cpuinfo": "model name\t: AMD EPYC\n",
            "self/cgroup": "0::/\n",
        },
    )
    root = write(tmp_path / "cgroup", {"memory.max": str(2 * GIB), "memory.current": str(GIB)})
    host = cpu._linux(proc, root)
    assert (host.memory_bytes, host.free_bytes) == (2 * GIB, GIB)
    assert host.limited_by is not None
    free = cpu._linux(proc, tmp_path / "none")
    assert (free.memory_bytes, free.limited_by) == (24684100 * 1024, None)
