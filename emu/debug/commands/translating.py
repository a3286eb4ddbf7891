"""Commands about address translation: the walk of an address, and which addresses a PA has."""

from __future__ import annotations

from itertools import count

from emu.arch import sysreg
from emu.arch.fields import tables
from emu.arch.fields.field import Fields
from emu.arch.fields.translation import attribute_words
from emu.cpu.attributes import attribute
from emu.cpu.pe import PE
from emu.cpu.translation import ADDRESS, Fault, Read, uses_el2
from emu.debug.commands.arguments import check_given, split_selected_cpu
from emu.debug.commands.context import CommandTable, Context
from emu.debug.page_walk import Entry, Walk, page_walk, vas_of
from emu.errors import InvalidCase
from emu.report.diff import cpu_ranges

_FAULTS = {
    "ADDRESS_SIZE": "address size fault",
    "TRANSLATION": "translation fault",
    "ACCESS_FLAG": "access flag fault",
    "PERMISSION": "permission fault",
    "EXTERNAL_ABORT_ON_WALK": "external abort on the walk",
}
_POLL_LOOKS = 4096  # between two looks at whether the user wants to stop
_INDENT = "      "

TABLE = CommandTable()


def _pe(context: Context, text: str, what: str) -> tuple[int, int, PE]:
    # The value of an expression, and the CPU behind it, which must be on.
    text, cpu = split_selected_cpu(context, text)
    address = context.session.evaluate(check_given(text, what), cpu)
    if context.session.state(cpu) == "off":
        raise InvalidCase(f"CPU{cpu} is off: it translates nothing")
    return address, cpu, context.session.pe(cpu)


@TABLE.command(
    "walk", "ADDRESS [cpu N]", "how the CPU translates it: each table's descriptor, and the result"
)
def _walk(context: Context, text: str) -> list[str]:
    va, cpu, pe = _pe(context, text, "ADDRESS")
    found = page_walk(pe, va, context.session.machine.memory.u64)
    name = context.view.va_name(va)
    hosted = context.session.machine.actors[cpu].task is not None
    rows = [f"VA {va:#x}{name}, CPU{cpu}: {_regime(pe, found)}"]
    rows += ["  by its registers as they are: a host task runs in its stead"] if hosted else []
    for entry in found.entries:
        rows += _entry_lines(pe, found, entry)
    return [*rows, *_result(context, pe, va, found)]


def _regime(pe: PE, found: Walk) -> str:
    if found.ttbr is None:
        return f"{found.regime}, stage 1 off" + (", stage 2 on" if found.second is not None else "")
    base = f"{sysreg.name(found.ttbr)} {pe.sysreg(found.ttbr):#x}"
    if found.granule is None:
        return f"{found.regime} by {base}, walks disabled"
    size = f"{found.width} bits, {1 << found.granule - 10} KiB"
    return f"{found.regime} by {base}, {size}" + (", stage 2 on" if found.second is not None else "")


def _entry_lines(pe: PE, found: Walk, entry: Entry) -> list[str]:
    stage = f"stage {entry.stage} " if found.second is not None else ""
    at = f"{entry.pa:#x}" + (f" (IPA {entry.ipa:#x})" if entry.ipa >= 0 and entry.ipa != entry.pa else "")
    head = f"  {stage}level {entry.level} at {at}: "
    if entry.descriptor is None:
        return [f"{head}no memory there"]
    head += f"{entry.descriptor:#018x}"
    if not entry.descriptor & 1:
        return [f"{head} invalid"]
    if entry.is_table:
        said = tables.words(tables.TABLE, entry.descriptor) if entry.stage == 1 else []
        return [", ".join([f"{head} table {entry.descriptor & ADDRESS:#x}", *said])]
    kind = "page" if entry.level == 3 else "block"
    if entry.level == 3 and not entry.descriptor & 2:
        return [f"{head} reserved"]
    return [f"{head} {kind}", f"{_INDENT}{', '.join(_attributes(pe, entry))}"]


def _attributes(pe: PE, entry: Entry) -> list[str]:
    # A block or page in words, its memory attribute first.
    assert entry.descriptor is not None
    if entry.stage == 2:
        return tables.words(tables.LEAF_STAGE2, entry.descriptor)
    is_el2 = uses_el2(pe)
    is_vhe = bool(pe.sysreg(sysreg.HCR_EL2) & sysreg.HCR_E2H)
    of_el2: Fields = tables.LEAF_EL2_VHE if is_vhe else tables.LEAF_EL2
    table: Fields = of_el2 if is_el2 else tables.LEAF_EL1
    index = entry.descriptor >> 2 & 7
    mair = pe.sysreg(sysreg.MAIR_EL2 if is_el2 else sysreg.MAIR_EL1)
    attribute = attribute_words(mair >> 8 * index & 0xFF)
    return [f"Attr{index} {attribute}", *tables.words(table, entry.descriptor)]


def _result(context: Context, pe: PE, va: int, found: Walk) -> list[str]:
    for stage, one in ((1, found.first), (2, found.second)):
        of_walk = stage == 1 and isinstance(found.second, Fault) and isinstance(found.first, Fault)
        if isinstance(one, Fault) and not of_walk:
            where = f", stage {stage}" if found.second is not None else ""
            return [f"{_FAULTS[one.kind.name]}, level {one.level}{where}"]
    pa = found.pa
    assert pa is not None
    refused = [
        verb
        for verb, is_store in (("load", False), ("store", True))
        if pe.translate(va, is_store=is_store) is None
    ]
    said = _named(context, pa)
    if refused:
        said += f"; EL{pe.el} may not {' nor '.join(refused)}"
    return [said]


def _named(context: Context, pa: int) -> str:
    return f"PA {context.view.named(pa)}"


def _heeding(context: Context) -> Read:
    # A look into tables that an interrupt can end.
    read, looks = context.session.machine.memory.u64, count()

    def look(pa: int) -> int | None:
        if not next(looks) % _POLL_LOOKS:
            context.heed()
        return read(pa)

    return look


@TABLE.command("vas", "PA [cpu N|all]", "the VAs that the CPU's tables, or all CPUs', have for a PA")
def _vas(context: Context, text: str) -> list[str]:
    everybody = text.removesuffix(" all").removesuffix(" cpu")
    if everybody != text:
        return _vas_of_all(context, everybody)
    pa, cpu, pe = _pe(context, text, "PA")
    pa = context.session.places.pa(pa)
    found = vas_of(pe, pa, _heeding(context))
    head = _named(context, pa)
    if not found.addresses:
        rest = "" if found.is_all else ", as far as its tables were searched"
        return [f"{head}: CPU{cpu} maps it nowhere{rest}"]
    rows = [
        f"{head}: CPU{cpu} has it at",
        *(f"  {va:#018x}{context.view.va_name(va)}" for va in found.addresses),
    ]
    return rows if found.is_all else [*rows, "  and more: the search has ended here"]


def _vas_of_all(context: Context, text: str) -> list[str]:
    # Who can see a PA, by which VAs and as which memory: CPUs that have the same together.
    session = context.session
    pa = session.places.pa(session.evaluate(check_given(text, "PA"), context.cpu))
    seen: dict[tuple[str, ...], list[int]] = {}
    for cpu in session.cpus:
        seen.setdefault(_sight(context, cpu, pa), []).append(cpu)
    rows = [_named(context, pa)]
    for said, cpus in seen.items():
        rows += [f"  {cpu_ranges(cpus)}: {said[0]}", *(f"    {line}" for line in said[1:])]
    return rows


def _sight(context: Context, cpu: int, pa: int) -> tuple[str, ...]:
    session = context.session
    state, pe = session.state(cpu), session.pe(cpu)
    if state == "off":
        return ("off",)
    if session.machine.actors[cpu].task is not None:
        return ("a host task, by its PA",)
    read = session.machine.memory.u64
    found = vas_of(pe, pa, _heeding(context))
    more = [] if found.is_all else ["and more"]
    if not found.addresses:
        return ("mapped nowhere", *more)
    rows = [
        f"{va:#018x}{context.view.va_name(va)}: {attribute_words(attribute(pe, va, read))}"
        for va in found.addresses
    ]
    return (f"EL{pe.el}, MMU {'on' if pe.mmu_on else 'off'}", *rows, *more)
