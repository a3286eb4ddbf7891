"""Designs: which fragments run, which tables and slots they use, what the host writes before a kick.

A file in this folder is a design (:class:`DesignFile`); nothing else has to name it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from emu.errors import InvalidCase, InvalidSubject
from emu.registry import choose, discover, not_one_of, part_of
from emu.subject import Subject
from emu.subject.fragment import load_design

EARLY_STATUS_KINDS = ("global", "per_cpu", "per_reason")


@dataclass(frozen=True, slots=True)
class Design:
    """How a secondary finds its logical CPU number and its boot data.

    :ivar name: the word on the command line
    :ivar fragments: paths below asm/ without suffix, concatenated in this order
    :ivar lookup_table: symbol of the u64[NR_CPUS] hwid table that secondaries scan, or None
    :ivar lookup_table_unused: u64 in an entry without a CPU
    :ivar table_skips_boot_cpu: entry 0 is never written and holds ``lookup_table_unused``
    :ivar table_clean_to_poc: secondaries read the table with the MMU off, so every writer must clean it
    :ivar data_symbol: struct secondary_data, or the array of them
    :ivar data_per_cpu: ``data_symbol`` is an array indexed by logical CPU
    :ivar context_id_pointer: PSCI context ID = VA of the CPU's struct secondary_data (0: the global one)
    :ivar early_status: layout of __early_cpu_boot_status, one of EARLY_STATUS_KINDS
    :ivar parallel: CPUs may be kicked before earlier ones have taken their data
    :ivar decodes_failures: the boot CPU reads the early status of a CPU that did not come online
    :ivar base: the order of secondary_start_kernel(), "6.12" or "v3"
    :ivar split: the kernel has HOTPLUG_SPLIT_STARTUP, so a CPU synchronises when it is alive
    :ivar forgets_refused: the table entry of a CPU that smp_cpu_setup() refuses is cleared
    :ivar asks_boot_cpu: the boot CPU's enable-method decides whether CPUs may be kicked in parallel
    :ivar data_read_only_after_init: the data is __ro_after_init, although every later bring-up writes it
    """

    name: str
    fragments: tuple[str, ...]
    lookup_table: str | None
    lookup_table_unused: int
    table_skips_boot_cpu: bool
    table_clean_to_poc: bool
    data_symbol: str
    data_per_cpu: bool
    context_id_pointer: bool
    early_status: str
    parallel: bool
    decodes_failures: bool
    base: str
    data_read_only_after_init: bool = False
    split: bool = True
    forgets_refused: bool = True
    asks_boot_cpu: bool = False

    def load(self, nr_cpus: int) -> Subject:
        """Assemble the design.

        :param nr_cpus: CONFIG_NR_CPUS, 1..4096
        :raises InvalidCase: nr_cpus out of range
        """
        return load_design(self.fragments, name=self.name, nr_cpus=nr_cpus)


def fragments(
    *,
    early_status: str,
    slot: str,
    entry: str = "boot/secondary_entry",
    lookup_mmu_off: tuple[str, ...] = (),
    lookup_mmu_on: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """Return the list of fragments of a design that differs from mainline in these places only."""
    return (
        f"include/early_status_{early_status}",
        "boot/secondary_holding_pen",
        entry,
        "boot/secondary_startup",
        *lookup_mmu_off,
        "boot/secondary_startup_mmu",
        "boot/__cpu_secondary_check52bitva",
        "boot/__cpu_setup",
        "boot/__enable_mmu",
        "boot/__no_granule_support",
        "boot/init_kernel_el",
        "boot/__secondary_switched",
        *lookup_mmu_on,
        slot,
        "boot/secondary_load_task",
        "boot/__secondary_too_slow",
        "boot/set_cpu_boot_mode_flag",
        "boot/finalise_el2",
        "boot/secondary_start_kernel",
        "boot/__hyp_stub_vectors",
        "boot/vectors",
        "data/boot_data",
    )


def get(name: str) -> Design:
    """Return the design called ``name``.

    :raises InvalidCase: no such design
    """
    return choose("design", name, DESIGNS, InvalidCase)


def check_exists(subject: str) -> None:
    """Check that a subject that is not a design is a file that can be read, or a folder.

    :raises InvalidSubject: it is not
    """
    path = Path(subject)
    try:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidSubject(
            f"{subject}: no such file, and no design: {not_one_of(subject, DESIGNS)}"
        ) from None
    except OSError as error:
        raise InvalidSubject(f"{subject}: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class DesignFile:
    """The definition of one design.

    :ivar name: the word on the command line
    :ivar design: the design
    :ivar summary: what sets it apart, in one line
    """

    name: str
    design: Design
    summary: str


DESIGNS = part_of(discover(__name__, DesignFile), lambda file: file.design)
