"""What hardware punishes and an engine lets pass: constraints by name, with words and their source."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Constraint:
    """One constraint.

    :ivar name: as records and findings have it
    :ivar words: what the guest does
    :ivar source: what hardware does then, and where that stands
    :ivar of_level: the record has a level of cache, from 1 on, in the place of a PA
    :ivar nowhere: it is about no memory: the record has 0 there
    """

    name: str
    words: str
    source: str
    of_level: bool = False
    nowhere: bool = False


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
UNALIGNED_EXCLUSIVE = Constraint(
    "unaligned-exclusive",
    "unaligned exclusive or atomic access",
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
SET_WAY_INVALIDATE = Constraint(
    "set-way-invalidate",
    "DC ISW drops data cache lines, whatever they hold",
    "dirty lines are lost, of this CPU before it was off or of all that share the level: maintenance by set "
    "and way is for caches that nobody uses, Arm DDI 0487 D7.5",
    of_level=True,
)
SET_WAY_SHARED = Constraint(
    "set-way-shared",
    "data cache maintenance by set and way of a level that other CPUs share",
    "they fill it meanwhile, and no other CPU is told, Arm DDI 0487 D7.5 and CLIDR_EL1.LoUIS",
    of_level=True,
)
SET_WAY_CACHED = Constraint(
    "set-way-cached",
    "data cache maintenance by set and way while the data cache is on",
    "lines come back meanwhile, and lines of others move in: SCTLR_ELx.C is to be clear, Arm DDI 0487 D7.5",
    of_level=True,
)
EXCEPTION_LOOP = Constraint(
    "exception-loop",
    "an exception that is taken again and again, with nothing changed",
    "its handler returns to the instruction, or takes it itself",
    nowhere=True,
)
_UNKNOWN = "it is UNKNOWN at reset, Arm DDI 0487 D24.2"
# Of an exception return from EL1 and from EL2.
UNSET_SPSR, UNSET_ELR = (
    {
        el: Constraint(
            f"unset-{register}-el{el}",
            f"exception return {how} {register.upper()}_EL{el}, which nothing has set since reset",
            _UNKNOWN,
            nowhere=True,
        )
        for el in (1, 2)
    }
    for register, how in (("spsr", "by"), ("elr", "to"))
)
UNSET_HCR = Constraint(
    "unset-hcr",
    "exception return from EL2 by HCR_EL2, which nothing has set since reset",
    _UNKNOWN + "; RW says that EL1 is AArch64",
    nowhere=True,
)
CONSTRAINTS = {
    constraint.name: constraint
    for constraint in (
        UNALIGNED_MMU_OFF,
        UNALIGNED_DEVICE,
        UNALIGNED_ORDERED,
        UNALIGNED_EXCLUSIVE,
        UNALIGNED_CHECKED,
        ZERO_DEVICE,
        SP_MISALIGNED,
        EXCLUSIVE_UNCACHED,
        SET_WAY_INVALIDATE,
        SET_WAY_SHARED,
        SET_WAY_CACHED,
        EXCEPTION_LOOP,
        *UNSET_SPSR.values(),
        *UNSET_ELR.values(),
        UNSET_HCR,
    )
}


def constraint_words(name: str) -> str:
    """Return what a record of a constraint says; an emu before these names has put words into its trace."""
    found = CONSTRAINTS.get(name)
    return f"{found.words} ({found.source})" if found is not None else name
