"""``emu info``: what was found in a subject, or in a topology."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emu.cli.asked import given, spelt
from emu.cli.outputs import Command
from emu.cli.progress import loading
from emu.designs import DESIGNS, check_exists
from emu.errors import InvalidCase, InvalidContract, InvalidSubject
from emu.registry import nearest, not_one_of
from emu.subject.fragment import is_source, load_file

if TYPE_CHECKING:
    from emu.lookup.contract import Contract
    from emu.subject import Subject

# Symbols that the host writes, kicks or waits at.
_SYMBOLS = (
    "secondary_entry",
    "secondary_holding_pen",
    "secondary_holding_pen_release",
    "secondary_startup",
    "__secondary_switched",
    "secondary_start_kernel",
    "__secondary_too_slow",
    "secondary_data",
    "cpu_boot_data",
    "__mpidr_to_cpuid_table",
    "__cpu_logical_map",
    "__early_cpu_boot_status",
    "__boot_cpu_mode",
    "vectors",
    "swapper_pg_dir",
    "idmap_pg_dir",
    "arch_cpuhp_kick_ap_alive",
    "arch_cpuhp_cleanup_kick_cpu",
)


@click.command("info", cls=Command)
@click.argument("subject", required=False)
@click.option(
    "--topology", metavar="NAME[:N]|FILE", help="Show these CPUs instead; with --json what --topology reads."
)
@click.option("--nr-cpus", type=int, default=8, show_default=True, help="NR_CPUS of a fragment, 1..4096.")
@click.option("--system-map", type=click.Path(path_type=Path), help="Symbols of a kernel.")
@click.option(
    "--tables", type=click.Path(file_okay=False, path_type=Path), help="Write the topology's tables there."
)
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
def command(
    subject: str | None,
    topology: str | None,
    nr_cpus: int,
    system_map: Path | None,
    tables: Path | None,
    as_object: bool,
) -> int:
    """Show what was found in SUBJECT: version, symbols, layouts.  [default: v3]

    A topology (a preset, or a .json, .dtb, .dts or ACPI file or directory) may stand for SUBJECT.
    """
    if subject is not None and topology is not None:
        raise InvalidCase(f"{subject} and --topology {topology}: give one of them")
    if topology is None and subject is not None and subject not in DESIGNS:
        topology = subject if _is_topology(subject) else None
    if topology is not None:
        if asked := given("nr_cpus", "system_map"):
            raise InvalidCase(f"{spelt(asked[0])}: of a subject, and {topology} is a topology; leave it out")
        return _show_topology(topology, tables, as_object)
    if tables is not None:
        raise InvalidCase(f"--tables {tables}: needs a topology")
    with loading(subject or "v3"):
        found = _describe(subject or "v3", nr_cpus, system_map)
    asked = given("nr_cpus") if found["kind"] in ("kernel", "object") else given("system_map")
    if asked:
        of = {"nr_cpus": "of what is assembled here", "system_map": "symbols of a kernel"}[asked[0]]
        raise InvalidCase(f"{spelt(asked[0])}: {of}, and {subject or 'v3'} is not; leave it out")
    if as_object:
        click.echo(json.dumps(found))
        return 0
    for name, value in found.items():
        if isinstance(value, dict):
            click.echo(f"{name}:")
            for key, item in value.items():
                click.echo(f"  {key:<32} {item}")
        elif isinstance(value, list):
            click.echo(f"{name}:")
            for item in value:
                click.echo(f"  {item}")
        else:
            click.echo(f"{name + ':':<16} {value}")
    return 0


def _is_topology(subject: str) -> bool:
    from emu.subject.kernel_files import is_kernel
    from emu.topology.read import is_topology

    return is_topology(subject) and not is_kernel(Path(subject))  # a FIT is a device tree too


def _show_topology(name: str, tables: Path | None, as_object: bool) -> int:
    from emu.topology.read import read_topology

    topology = read_topology(name)
    if tables is not None:
        from emu.host.firmware_tables import write_tables

        write_tables(topology, tables)
    if as_object:
        from emu.topology.json_form import to_json

        click.echo(json.dumps(to_json(topology), indent=1))
        return 0
    from emu.report.text import make_console, print_topology

    print_topology(make_console(), topology)
    return 0


def _describe(subject: str, nr_cpus: int, system_map: Path | None) -> dict[str, Any]:
    if subject in DESIGNS:
        found, loaded = _design(subject, nr_cpus)
    elif is_source(subject):
        found, loaded = _source(subject, nr_cpus)
    else:
        found, loaded = _kernel(subject, system_map)
    found["identity"] = loaded.identity
    names = [name for name, _va in loaded.symbols] if found["kind"] in ("source", "object") else _SYMBOLS
    addresses = ((name, loaded.symbols.address(name)) for name in names)
    found["symbols"] = {name: f"{va:#018x}" for name, va in addresses if va is not None}
    return found


def _design(subject: str, nr_cpus: int) -> tuple[dict[str, Any], Subject]:
    design = DESIGNS[subject]
    loaded = design.load(nr_cpus)
    fields = asdict(design)
    fragments = fields.pop("fragments")
    found: dict[str, Any] = {"subject": subject, "kind": "design", "nr_cpus": nr_cpus}
    found["bytes"] = sum(segment.size for segment in loaded.segments)
    found["design"] = {name: value for name, value in fields.items() if name != "name"}
    found["fragments"] = [f"asm/{name}" for name in fragments]
    return found, loaded


def _source(subject: str, nr_cpus: int) -> tuple[dict[str, Any], Subject]:
    from emu.lookup.load import load_lookup
    from emu.lookup.target import place

    contract, words = _contract(Path(subject))
    if contract is not None:  # it may lack what its harness brings
        _, load, _ = load_lookup(subject, None, None)
        loaded = place(contract, load, {"NR_CPUS": nr_cpus} if "NR_CPUS" in contract.defines else {}).subject
    else:
        loaded = load_file(Path(subject), nr_cpus=nr_cpus)
    found: dict[str, Any] = {"subject": subject, "kind": "source", "nr_cpus": nr_cpus}
    found["assembler"] = loaded.assembler
    if not loaded.assembler:  # an object: neither was of our choosing
        found = {"subject": subject, "kind": "object"}
    found["bytes"] = sum(segment.size for segment in loaded.segments)
    if words:
        found["contract"] = words
    return found, loaded


def _contract(path: Path) -> tuple[Contract | None, list[str]]:
    # What a lookup promises, and in words; or why its header is none of a lookup.
    from emu.lookup.header import contract_for, contract_of_header
    from emu.lookup.words import write_contract

    try:
        found = contract_for(path) if path.with_suffix(".toml").is_file() else None
        if found is None and path.suffix in (".S", ".s"):
            found = contract_of_header(path.read_text(errors="replace"), str(path))
    except InvalidContract as error:
        return None, [f"not understood: {error}"]
    return found, write_contract(found).splitlines() if found else []


def _kernel(subject: str, system_map: Path | None) -> tuple[dict[str, Any], Subject]:
    from emu.subject.kernel import is_kernel, load_kernel
    from emu.subject.kernel_files import is_elf

    try:
        check_exists(subject)
    except InvalidSubject as error:
        from emu.topology.presets import PRESETS

        near = None if os.path.lexists(subject) else nearest(subject.partition(":")[0], PRESETS)
        raise InvalidSubject(
            f"{error}" + (f"; and no topology; did you mean {near}?" if near else "")
        ) from None
    path = Path(subject)
    if not is_kernel(path) and not is_elf(path):
        raise InvalidSubject(f"{subject}: no arm64 kernel, and no design: {not_one_of(subject, DESIGNS)}")
    image = load_kernel(path, system_map=system_map)
    found = {
        "subject": subject,
        "kind": "kernel",
        "version": image.version,
        "banner": image.banner.strip(),
        "page_size": image.page_size,
        "image_size": image.image_size,
        "entry_pa": f"{image.entry_pa:#x}",
        "symbols_found": sum(1 for _ in image.subject.symbols),
        "layout": asdict(image.layout),
    }
    return found, image.subject
