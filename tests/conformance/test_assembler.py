"""Each assembler of this host makes the bytes, labels and lines that Keystone makes; which one is asked."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from assembly_texts import TEXTS

from emu.arch import boot
from emu.designs import DESIGNS, Design
from emu.errors import AssemblyError, NoAssembler
from emu.subject import assembler, toolchain
from emu.subject.assemblers import ASSEMBLERS, Assembler, Installed, gnu
from emu.subject.assembly_source import read
from emu.subject.assembly_text import Flat, flatten
from emu.subject.fragment import constants, design_lines, load_source

ROOT = Path(__file__).resolve().parents[2]
KEYSTONE = ASSEMBLERS["keystone"].find()
OTHERS = {name: here for name, one in ASSEMBLERS.items() if name != "keystone" and (here := one.find())}

each = pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)


def flat_of(text: str) -> Flat:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "t.S")
        path.write_text(text)
        return flatten(read(path, "t.S", [], set()), constants(8))


def agree(other: Installed, flat: Flat, externals: Mapping[str, int] | None = None) -> None:
    assert KEYSTONE is not None
    assert other.assemble(flat, externals or {}) == KEYSTONE.assemble(flat, externals or {})


def test_there_is_one_besides_keystone_to_compare() -> None:
    assert "gnu" in OTHERS  # Debian: binutils-aarch64-linux-gnu


def closed(assemble: Installed, flat: Flat) -> dict[str, int]:
    # An address behind the text for each symbol that it leaves undefined.
    externals: dict[str, int] = {}
    while True:
        try:
            assemble.assemble(flat, externals)
            return externals
        except AssemblyError as error:
            new = set(error.undefined) - set(externals)
            if not new:
                raise
            externals |= {name: boot.IMAGE_PA + 0x8000 + 64 * len(externals) for name in sorted(new)[:1]}


@each
@pytest.mark.parametrize("nr_cpus", [1, 4096])
@pytest.mark.parametrize("design", DESIGNS.values(), ids=lambda design: design.name)
def test_designs_are_the_same_bytes(design: Design, nr_cpus: int, other: Installed) -> None:
    agree(other, flatten(design_lines(design.fragments), constants(nr_cpus)))


@each
@pytest.mark.parametrize(
    "fragment", sorted(str(path.relative_to(ROOT / "asm"))[:-2] for path in (ROOT / "asm").rglob("*.S"))
)
def test_each_fragment_alone_is_the_same_bytes(fragment: str, other: Installed) -> None:
    flat = flatten(design_lines(["include/macros", "include/early_status_per_cpu", fragment]), constants(8))
    agree(other, flat, closed(other, flat))


@each
def test_texts_are_the_same_bytes(other: Installed) -> None:
    for text in TEXTS:
        agree(other, flat_of(text.replace(" | ", "\n")))


@each
def test_lookups_are_the_same_bytes(other: Installed) -> None:
    """Those that tests look up with, and the example."""
    for path in (*sorted((ROOT / "tests/lookup/correct").glob("*.S")), ROOT / "examples/my_boot.S"):
        flat = flatten(read(path, path.name, [ROOT / "asm/include", ROOT / "asm"], set()), constants(8))
        agree(other, flat, closed(other, flat))


@each
def test_addresses_of_symbols_outside_are_the_same_bytes(other: Installed) -> None:
    text = "adr x1, t\nldr x2, t\nadr x3, t + 8\nadrp x4, t\nadd x4, x4, :lo12:t\n.quad t\nb t\nbl far"
    agree(other, flat_of(text), {"t": boot.IMAGE_PA + 0x8000, "far": boot.IMAGE_PA - 0x1000})


@each
@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("nop\nbogus x1\nnop", 2, "bogus x1: .*(unknown mnemonic|unrecognized instruction)"),
        ("nop\n.macro m\nldr x0, [x1, #3, #4]\n.endm\nm", 3, r"macro called at t\.S:5"),
        ("nop\nb nowhere\nbl elsewhere", 2, "symbol nowhere is not defined"),
        ("nop\ntbz x0, #1, a\n.zero 0x20000\na: nop", 2, ""),
    ],
)
def test_an_error_has_the_line_and_the_reason(text: str, line: int, reason: str, other: Installed) -> None:
    with pytest.raises(AssemblyError, match=rf"t\.S:{line}: .*{reason}") as caught:
        other.assemble(flat_of(text), {})
    assert "\n" not in str(caught.value)
    assert caught.value.undefined == (("elsewhere", "nowhere") if "nowhere" in text else ())


@each
def test_text_without_bytes_has_none(other: Installed) -> None:
    assert other.assemble(flat_of("a:"), {}) == (b"", {"a": boot.IMAGE_PA}, [None])


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    # A host with these alone, and nothing kept from another one.
    here = {name: one for name, one in ASSEMBLERS.items() if name in names}
    for module in (assembler, toolchain):
        monkeypatch.setattr(module, "ASSEMBLERS", here)
    monkeypatch.setattr(assembler, "_kept", {})
    monkeypatch.setattr(assembler, "cache_dir", lambda: None)


def test_a_host_without_keystone_has_the_same_subject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ROOT / "examples/my_boot.S"
    ours = load_source(path, nr_cpus=8)
    only(monkeypatch, "gnu")
    theirs = load_source(path, nr_cpus=8)
    assert (ours.assembler, theirs.assembler) == ("keystone", OTHERS["gnu"].name)
    assert (theirs.segments, theirs.identity) == (ours.segments, ours.identity)
    assert theirs.symbols.text == ours.symbols.text
    assert [theirs.lines.at(pa) for pa in range(boot.IMAGE_PA, boot.IMAGE_PA + 0x800, 4)] == [
        ours.lines.at(pa) for pa in range(boot.IMAGE_PA, boot.IMAGE_PA + 0x800, 4)
    ]
    # What the program itself says of the file as it is written is all that is said.
    (tmp_path / "user.S").write_text("nop\nbogus\n")
    with pytest.raises(AssemblyError) as caught:
        load_source(tmp_path / "user.S", nr_cpus=8)
    assert str(caught.value).count(OTHERS["gnu"].name) == 1
    assert f"user.S:2: {OTHERS['gnu'].name}: " in str(caught.value)


def test_a_host_without_any_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "user.S").write_text("nop\n")
    lacking = [Assembler(one.name, one.order, one.install, lambda: None) for one in ASSEMBLERS.values()]
    only(monkeypatch)
    monkeypatch.setattr(assembler, "ASSEMBLERS", {one.name: one for one in lacking})
    with pytest.raises(NoAssembler) as caught:
        load_source(tmp_path / "user.S", nr_cpus=8)
    assert str(caught.value) == (
        "no assembler for AArch64 is installed; install one of: keystone-engine of PyPI, on x86-64; "
        "gcc-aarch64-linux-gnu or binutils-aarch64-linux-gnu of Debian, binutils on arm64; clang; "
        "ziglang of PyPI"
    )


def test_the_order_is_keystone_gnu_clang_zig() -> None:
    first = sorted(ASSEMBLERS.values(), key=lambda one: one.order)
    assert list(ASSEMBLERS.values()) == first
    ours = [name for name in ASSEMBLERS if name in ("clang", "gnu", "keystone", "zig")]
    assert ours == ["keystone", "gnu", "clang", "zig"]


@pytest.mark.parametrize(
    ("system", "machine", "found"),
    [
        ("linux", "aarch64", True),
        ("linux", "x86_64", False),  # its as makes other objects
        ("darwin", "arm64", False),  # clang, for Mach-O
    ],
)
@pytest.mark.parametrize("name", ["gcc", "as"])
def test_an_arm64_linux_host_has_an_assembler_of_its_own(
    name: str, system: str, machine: str, found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_text("#!/bin/sh\n")
    (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gnu.sys, "platform", system)
    monkeypatch.setattr(gnu.platform, "machine", lambda: machine)
    here = gnu.find()
    assert (here is not None) == found
    assert here is None or here.command[0] == str(tmp_path / name)


def test_another_release_of_a_program_is_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / gnu.AS
    identities = set()
    for text in ("#!/bin/sh\n", "#!/bin/sh\n:\n"):
        program.write_text(text)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        here = gnu.find()
        assert here is not None
        identities.add(here.identity)
    assert len(identities) == 2
