"""Owns which CPU types of running virtual machines keep them from which nodes."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from planner.admission import record, text

DEFAULT = "kvm64"
"""What a virtual machine has whose configuration names no type: any node can give it."""
WHOLE = ("host", "max")
"""Types that are all the node has: they go on only where the CPU is the same."""
INTEL, AMD = "GenuineIntel", "AuthenticAMD"
MAKERS = {INTEL: "Intel", AMD: "AMD"}
NAMED = {
    INTEL: re.compile(
        r"(486|pentium|coreduo|core2duo|Conroe|Penryn|Nehalem|Westmere|SandyBridge|IvyBridge|Haswell|Broadwell|"
        r"Skylake|Cascadelake|Cooperlake|Icelake|KnightsMill|Snowridge|Denverton|SapphireRapids|GraniteRapids|"
        r"SierraForest|ClearwaterForest|DiamondRapids).*"
    ),
    AMD: re.compile(r"(athlon|phenom|Opteron|EPYC).*"),
}
"""Models of one maker, by the names that QEMU gives them."""
V2 = frozenset({"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"})
V3 = V2 | {"aes", "abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"}
LEVELS = {
    "x86-64-v2": V2,
    "x86-64-v2-AES": V2 | {"aes"},
    "x86-64-v3": V3,
    "x86-64-v4": V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}
"""Levels of the x86-64 psABI, as Linux writes their flags."""
FLAGS = LEVELS["x86-64-v4"]
"""All flags that decide about anything."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """The CPU of a node."""

    model: str
    maker: str = ""
    """As in INTEL and AMD; another, or empty: none of the named models is of it."""
    flags: frozenset[str] = frozenset()


def of_node(status: Mapping[str, Any]) -> Cpu | None:
    """The CPU of a node by its status; None where that does not tell it. InputError for a wild answer."""
    info = record(status.get("cpuinfo"))
    model = text(info.get("model"))
    maker = text(info.get("vendor")) or next((maker for maker, name in MAKERS.items() if name in model), "")
    return Cpu(model, maker, frozenset(text(info.get("flags")).split())) if model else None


def are_different(cpus: Collection[Cpu]) -> bool:
    """Whether CPU types can matter at all."""
    return len({cpu.model for cpu in cpus}) > 1


def type_of(config: Mapping[str, Any]) -> str:
    """The CPU type that a virtual machine is configured with. InputError for a wild answer."""
    for part in text(config.get("cpu")).split(","):
        name, equals, value = part.partition("=")
        if name and (not equals or name == "cputype"):
            return value if equals else name
    return DEFAULT


def barred(kind: str, home: Cpu, others: Mapping[str, Cpu]) -> dict[str, str]:
    """Node to why a virtual machine of a CPU type cannot go on there while it runs; `home`: where it does."""
    if kind in WHOLE:
        reason = f"{_type(kind)} fits only nodes with {home.model}"
        return {node: reason for node, cpu in others.items() if cpu.model != home.model}
    if kind in LEVELS:
        return _below(kind, home, others)
    maker = next((maker for maker, names in NAMED.items() if names.fullmatch(kind)), "")
    if not maker or home.maker != maker:  # it runs where it should not be able to: nothing can be told
        return {}
    reason = f"{_type(kind)} fits only nodes with a CPU of {MAKERS[maker]}"
    return {node: reason for node, cpu in others.items() if cpu.maker != maker}


def only_while_running(reason: str) -> bool:
    """Whether what bars a node does so only while the guest runs: it may start there."""
    return any(reason.startswith(f"{_type(kind)} ") for kind in WHOLE)


def _below(kind: str, home: Cpu, others: Mapping[str, Cpu]) -> dict[str, str]:
    """Nodes that lack flags of a level. What is missing at home as well is not told by this node, or not needed."""
    needed = LEVELS[kind] & home.flags
    lacking = {node: sorted(needed - cpu.flags) for node, cpu in others.items()}
    return {
        node: f"{_type(kind)} needs {', '.join(flags)}, which its CPU lacks" for node, flags in lacking.items() if flags
    }


def _type(kind: str) -> str:
    return f"its CPU type {kind}"
