"""A lookup by name: a design, a ``.S`` file, an object, or the loop inside a kernel; and its contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from emu.designs import DESIGNS, check_exists
from emu.errors import InvalidCase, InvalidContract, InvalidSubject, Untestable
from emu.lookup.contract import Contract
from emu.lookup.header import contract_for, contract_of_design
from emu.lookup.target import OUTSIDE_MAX, OUTSIDE_PA, Loader
from emu.lookup.toml_form import NR_CPUS
from emu.subject import Subject
from emu.subject.fragment import load_source
from emu.subject.kernel import is_kernel, load_kernel
from emu.subject.object import load_object


def load_lookup(name: str, contract: Path | None, system_map: Path | None) -> tuple[Contract, Loader, bool]:
    """Return the contract of the lookup ``name``, its loader, and whether its defines are fixed.

    :raises InvalidCase: symbols for what is no kernel
    :raises InvalidSubject: no such file, or one of another kind
    :raises InvalidContract: there is no contract, or it breaks a rule
    :raises Untestable: a design without a lookup
    """
    if name not in DESIGNS:
        check_exists(name)
    if system_map is not None and (name in DESIGNS or not is_kernel(Path(name))):
        raise InvalidCase(f"system-map={system_map}: the symbols of a kernel, and {name} is none")
    if name in DESIGNS:
        design = DESIGNS[name]
        found = contract_for(Path(name), contract) if contract else contract_of_design(design)
        if found is None:
            others = ", ".join(other for other, design in DESIGNS.items() if design.lookup_table)
            raise Untestable(f"{name}: this design looks nothing up; {others} do")
        return found, lambda nr_cpus, _defines: design.load(nr_cpus), False
    path = Path(name)
    if path.suffix in (".S", ".s"):

        def assemble(nr_cpus: int, defines: Mapping[str, int]) -> Subject:
            return load_source(path, nr_cpus=nr_cpus, defines=defines)

        return contract_for(path, contract), _with_outside(assemble), False
    if path.suffix == ".o":

        def link(_nr_cpus: int, defines: Mapping[str, int]) -> Subject:
            return load_object(path, defines, absolute="pa")

        return contract_for(path, contract), _with_outside(link), True
    if is_kernel(path):
        image = load_kernel(path, system_map=system_map)
        promised = contract_for(path, contract)
        if promised.defines.get("NR_CPUS") is NR_CPUS:
            raise InvalidContract(
                f"{promised.source}: defines.NR_CPUS: missing; say the CONFIG_NR_CPUS of {name}"
            )
        return promised, lambda _nr_cpus, _defines: image.subject, True
    raise InvalidSubject(f"{name}: neither a design, a .S file, an object, nor an arm64 kernel")


def _with_outside(load: Loader) -> Loader:
    # A fragment branches to symbols that it does not define: each gets an address without code.
    outside: dict[str, int] = {}

    def loaded(nr_cpus: int, defines: Mapping[str, int]) -> Subject:
        while True:
            try:
                subject = load(nr_cpus, {**defines, **outside})
                break
            except Untestable as error:
                new = [name for name in error.undefined if name not in outside and name not in defines]
                if not new or len(outside) + len(new) > OUTSIDE_MAX:
                    raise
                for name in new:
                    outside[name] = OUTSIDE_PA + 16 * len(outside)
        addresses = {name: (pa + subject.va_offset) % 2**64 for name, pa in outside.items()}
        return replace(subject, symbols=subject.symbols.with_data(addresses))

    return loaded
