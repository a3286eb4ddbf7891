"""What hardware punishes and an engine lets pass: constraints by name, with words and their source."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Constraint:
    """One constraint.

    :ivar name: as records and findings have it
    :ivar words: what the guest does
    :ivar source: what hardware does then, and where that stands
    """

    name: str
    words: str
    source: str


UNALIGNED_MMU_OFF = Constraint(
    "unaligned-mmu-off",
    "unaligned access with the MMU off",
    "Device-nGnRnE memory: alignment fault, Arm DDI 0487 B2.15.2",
)
UNALIGNED_DEVICE = Constraint(
    "unaligned-device",
    "unaligned access to Device memory",
    "alignment fault, Arm DDI 0487 B2.15.2",
)
UNALIGNED_ORDERED = Constraint(
    "unaligned-ordered",
    "unaligned load-acquire or store-release",
    "alignment fault, Arm DDI 0487 B2.5.2",
)
UNALIGNED_CHECKED = Constraint(
    "unaligned-checked",
    "unaligned access with SCTLR_ELx.A set",
    "alignment fault, Arm DDI 0487 B2.5.2",
)
ZERO_DEVICE = Constraint(
    "zero-device",
    "DC ZVA on Device memory or with the MMU off",
    "alignment fault, Arm DDI 0487 D7.5.9",
)
SP_MISALIGNED = Constraint(
    "sp-misaligned",
    "access by a stack pointer that is not 16-byte aligned, with SCTLR_ELx.SA set",
    "SP alignment fault, Arm DDI 0487 D1.3.9",
)
EXCLUSIVE_UNCACHED = Constraint(
    "exclusive-uncached",
    "exclusive or atomic access to memory that is not Normal Write-Back",
    "many parts have no global monitor there: it faults, or no store ever succeeds, Arm DDI 0487 B2.12.5",
)
EXCEPTION_LOOP = Constraint(
    "exception-loop",
    "an exception that is taken again and again, with nothing changed",
    "its handler returns to the instruction, or takes it itself",
)
CONSTRAINTS = {
    constraint.name: constraint
    for constraint in (
        UNALIGNED_MMU_OFF,
        UNALIGNED_DEVICE,
        UNALIGNED_ORDERED,
        UNALIGNED_CHECKED,
        ZERO_DEVICE,
        SP_MISALIGNED,
        EXCLUSIVE_UNCACHED,
        EXCEPTION_LOOP,
    )
}


def constraint_words(name: str) -> str:
    """Return what a record of a constraint says; an emu before these names has put words into its trace."""
    found = CONSTRAINTS.get(name)
    return f"{found.words} ({found.source})" if found is not None else name
