"""Text that Keystone refuses: who assembles it instead, with what, and what is said when nobody does."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import pytest
from make_object import NOP, Name, Part, make_object
from programs import run_emu, run_program

from emu.arch import boot
from emu.errors import AssemblyError, InvalidSubject
from emu.subject import Subject, assembler, toolchain
from emu.subject.assemblers import clang, gnu, zig
from emu.subject.assemblers.gnu import AS as GNU_AS
from emu.subject.assemblers.gnu import GCC as GNU
from emu.subject.assemblers.tool import Tool
from emu.subject.fragment import asm_dir, constants, constants_include, load_source
from emu.subject.toolchain import assemble_elsewhere, find_tools

ROOT = Path(__file__).resolve().parents[2]
needs_gcc = pytest.mark.skipif(
    shutil.which(GNU) is None, reason=f"{GNU} is not installed (Debian: gcc-aarch64-linux-gnu)"
)
needs_binutils = pytest.mark.skipif(
    shutil.which(GNU_AS) is None, reason=f"{GNU_AS} is not installed (Debian: binutils-aarch64-linux-gnu)"
)
_REAL_GNU_AS = shutil.which(GNU_AS) or ""
PAC = "4100c1da"  # pacia x1, x2: Arm DDI 0487, C6.2, PACIA
REFUSED = "nop\npacia x1, x2\n"  # by Keystone


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(assembler, "_kept", {})


def source(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "my.S"
    path.write_text(text)
    return path


def stub(folder: Path, name: str, body: str) -> None:
    """Put a program on the PATH that notes its arguments, one a line, in NAME.arguments."""
    path = folder / name
    noted = folder / f"{name}.arguments"
    path.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > '{noted}'\n{body}\n")
    path.chmod(0o755)


def copying(folder: Path) -> str:
    """Return the body of a stub that makes an object: one nop at a label ``stubbed``."""
    (folder / "made.o").write_bytes(make_object([Part(".text", NOP)], [Name("stubbed", 1)]))
    return f"cp '{folder}/made.o' t.o"


@pytest.fixture
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH on which there is a shell's furniture and no assembler; no module ziglang either."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "cp", "sleep"):
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(zig, "find_spec", lambda _name: None)
    return folder


# --- what GNU assembles


@needs_gcc
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("pacia x1, x2", PAC),
        ("irg x0, x1", "2010df9a"),
        ("ldraa x0, [x1]", "200420f8"),
        (".inst 0xd503201f", "1f2003d5"),
        ("#define ADD(a, b) add a, a, b\nADD(x0, x1)", "0000018b"),
        ("#ifdef NR_CPUS\nnop\n#endif\n#if NR_CPUS == 8 && CPU_MMU_OFF < 0\nwfe\n#endif", "1f2003d55f2003d5"),
        ("#define N NR_CPUS\ncmp x0, #N", "1f2000f1"),
        ("pacia x1, x2\n.ifdef NR_CPUS\nwfe\n.endif", PAC + "5f2003d5"),
        (".equ NR_CPUS, 9\npacia x1, x2\ncmp x0, #NR_CPUS", PAC + "1f2400f1"),
        (
            "pacia x1, x2\n1: cbnz x0, 1b\nb 1f\n1: .quad INVALID_HWID",
            PAC + "000000b501000014" + "ff" * 8,
        ),
        ("pacia x1, x2\na: ldr x0, =a", PAC + "200000580400204000000000"),
        ('.section .rodata\n.byte 1\n.text\nnop\n.section ".text.x", "ax"\nwfe', "1f2003d55f2003d501"),
        ("nop\n.data\n.balign 16\n.word 2\n.bss\n.skip 16", "1f2003d5" + "00" * 12 + "02000000"),
    ],
)
def test_text_that_keystone_refuses_is_assembled(text: str, code: str, tmp_path: Path) -> None:
    """The constants are known to the preprocessor and to the assembler."""
    subject = load_source(source(tmp_path, text + "\n"), nr_cpus=8)
    assert subject.segments[0].data.hex() == code
    assert subject.assembler == GNU
    assert subject.name == "my.S"
    assert subject.defines["NR_CPUS"] == 8


def test_subject_tells_that_keystone_assembled_it(tmp_path: Path) -> None:
    assert load_source(source(tmp_path, "nop\n"), nr_cpus=8).assembler == "keystone"


@needs_gcc
def test_define_near_the_text_is_a_symbol_and_any_other_a_constant(tmp_path: Path) -> None:
    text = (
        REFUSED + "adr x0, table\ncmp x1, #COUNT\n.if COUNT == 5\nwfe\n.endif\n#if COUNT == 5\nsev\n#endif\n"
    )
    table = boot.IMAGE_PA + 0x100
    subject = load_source(source(tmp_path, text), nr_cpus=8, defines={"table": table, "COUNT": 5})
    assert (
        subject.segments[0].data.hex() == "1f2003d5" + PAC + "c0070010" + "3f1400f1" + "5f2003d5" + "9f2003d5"
    )
    assert (subject.defines["table"], subject.defines["COUNT"]) == (table, 5)


@needs_gcc
@pytest.mark.parametrize("text", ["table: .quad 1\nadr x0, table\n", REFUSED + "table: nop\nadr x0, table\n"])
def test_label_of_the_text_wins_over_a_define(text: str, tmp_path: Path) -> None:
    """A look-up may bring the table that its contract names."""
    subject = load_source(source(tmp_path, text), nr_cpus=8, defines={"table": boot.IMAGE_PA + 0x8000})
    assert boot.IMAGE_PA <= subject.pa("table") < boot.IMAGE_PA + 16


@needs_gcc
def test_includes_are_found_as_our_reader_finds_them(tmp_path: Path) -> None:
    """Beside the file, in asm/include and in asm; in both spellings, and ours any number of times."""
    folder = tmp_path / "a folder, with a comma"
    path = source(
        folder,
        '#include "part.inc"\n#include "macros.inc"\n#include "include/macros.inc"\n#include <sysreg.inc>\n'
        '.include "more.inc"\nmov_q x1, MPIDR_HWID_BITMASK\npacia x1, x2\n',
    )
    (folder / "part.inc").write_text("part: nop\n")
    (folder / "more.inc").write_text("adr_l x0, part\n")
    subject = load_source(path, nr_cpus=8)
    assert subject.assembler == GNU
    assert subject.segments[0].size == 6 * 4


@needs_gcc
def test_bytes_do_not_depend_on_where_and_when(tmp_path: Path) -> None:
    text = REFUSED + "\n.asciz __FILE__\n.asciz __DATE__\n.asciz __TIME__\n"
    here = load_source(source(tmp_path / "here", text), nr_cpus=8)
    there = load_source(source(tmp_path / "there", text), nr_cpus=8)
    assert here.identity == there.identity
    assert here.segments[0].data[8:] == b"my.S\0Jan  1 1970\x0000:00:00\0"


def test_nothing_is_left_behind(tmp_path: Path, empty_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(empty_path, "clang", copying(empty_path) + "\necho x > $TMPDIR/left")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(toolchain.tempfile, "tempdir", str(tmp_path / "tmp"))
    load_source(source(tmp_path / "src", REFUSED), nr_cpus=8)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert [path.name for path in (tmp_path / "src").iterdir()] == ["my.S"]


# --- the same text, the same bytes


def elsewhere(tool: str, path: Path, monkeypatch: pytest.MonkeyPatch, **symbols: int) -> Subject:
    found, missing = find_tools()
    monkeypatch.setattr(toolchain, "find_tools", lambda: ([t for t in found if t.name == tool], missing))
    asm = asm_dir()
    return assemble_elsewhere(
        path,
        AssemblyError("my.S:1: asked for"),
        by="keystone",
        constants=constants(8),
        symbols=symbols,
        include_dirs=[asm / "include", asm],
    )


@needs_gcc
@pytest.mark.parametrize("text", ["examples/my_boot.S", *(f"asm/lookup/{n}.S" for n in ("rfc", "v2", "v3"))])
def test_gnu_makes_the_bytes_and_symbols_of_keystone(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What both can assemble is one subject."""
    names = ("__mpidr_to_cpuid_table", "__cpu_logical_map", "__secondary_too_slow")
    defines = {} if "my_boot" in text else dict.fromkeys(names, boot.IMAGE_PA + 0x8000)
    ours = load_source(ROOT / text, nr_cpus=8, defines=defines)
    theirs = elsewhere(GNU, ROOT / text, monkeypatch, **defines)
    assert (ours.assembler, theirs.assembler) == ("keystone", GNU)
    assert ours.segments == theirs.segments
    assert ours.identity == theirs.identity
    assert ours.symbols.text == theirs.symbols.text


@needs_gcc
@pytest.mark.parametrize(
    "text",
    [
        "a: ldr x0, =a\nret\n.ltorg\n",
        "ldr x0, =a + VA_OFFSET\na: ret\n",
        "adrp x1, a\nadd x1, x1, :lo12:a\na: b a\n.quad a, a - ., INVALID_HWID\n",
        "mov x0, #010\nmov x1, #1 + 2 << 3\ncmp x0, #(NR_CPUS - 1)\n.fill 2, 4, CPU_MMU_OFF\n",
    ],
)
def test_address_and_expression_mean_the_same_to_gnu(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label is a PA to either, so that one instruction more does not change what the others are."""
    path = source(tmp_path, text)
    ours = load_source(path, nr_cpus=8)
    assert ours.assembler == "keystone"
    assert elsewhere(GNU, path, monkeypatch).segments == ours.segments


@needs_binutils
def test_gnu_as_alone_gets_text_with_its_includes(
    tmp_path: Path, empty_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's binutils without a compiler: no preprocessor."""
    (empty_path / GNU_AS).symlink_to(_REAL_GNU_AS)
    example = ROOT / "examples/my_boot.S"
    assert elsewhere(GNU_AS, example, monkeypatch).segments == load_source(example, nr_cpus=8).segments
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(empty_path))
    (tmp_path / "part.inc").write_text("nop\nbogus\n")
    path = source(tmp_path, 'pacia x1, x2\n#include "part.inc"\n')
    with pytest.raises(AssemblyError, match=rf"; {GNU_AS}: .*part\.inc:2: Error: unknown mnemonic `bogus'"):
        load_source(path, nr_cpus=8)
    path.write_text("#define X 1\nnop\n")
    with pytest.raises(AssemblyError, match=rf"; {GNU_AS}: has no preprocessor: #define X 1"):
        load_source(path, nr_cpus=8)


# --- command lines


def test_tools_are_tried_in_order_and_the_first_that_takes_the_text_wins(
    tmp_path: Path, empty_path: Path
) -> None:
    stub(empty_path, GNU, "echo 'my.S:2: Error: not today' >&2; exit 1")
    stub(empty_path, "clang", copying(empty_path))
    stub(empty_path, "zig", "exit 1")
    tools, missing = find_tools()
    assert ([tool.name for tool in tools], missing) == ([GNU, "clang", "zig"], [])
    subject = load_source(source(tmp_path, REFUSED), nr_cpus=8)
    assert subject.assembler == "clang"
    assert subject.pa("stubbed") == boot.IMAGE_PA
    assert (empty_path / f"{GNU}.arguments").exists()
    assert not (empty_path / "zig.arguments").exists()


@pytest.mark.parametrize(
    ("name", "start"),
    [
        (GNU, ["-march=armv8.5-a", "-Wa,-march=all", "-c", "-x", "assembler-with-cpp"]),
        (
            "clang",
            ["--target=aarch64-linux-gnu", "-march=armv8.5-a+memtag+rng+crypto+sve2", "-c", "-x"],
        ),
        ("zig", ["cc", "-target", "aarch64-linux-gnu", "-mcpu=generic+v8_5a+mte+rand+sve2", "-c", "-x"]),
    ],
)
def test_command_line_of_each_compiler(name: str, start: list[str], tmp_path: Path, empty_path: Path) -> None:
    """The constants twice, the file's own folder first, then ours."""
    stub(empty_path, name, copying(empty_path))
    path = source(tmp_path, REFUSED)
    assert load_source(path, nr_cpus=8).assembler == name
    arguments = (empty_path / f"{name}.arguments").read_text().splitlines()
    assert arguments[: len(start)] == start
    assert {"-DNR_CPUS=8", "-Wa,-defsym,NR_CPUS=8", "-DCPU_MMU_OFF=(-1)", "-g0"} <= set(arguments)
    folders = [argument for argument in arguments if argument.startswith("-I")]
    assert folders == [f"-I{tmp_path}", f"-I{asm_dir() / 'include'}", f"-I{asm_dir()}"]
    assert arguments[-3:] == ["-o", "t.o", str(path)]


def test_zig_of_a_package_is_run_as_a_module(
    tmp_path: Path, empty_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(empty_path, "zig", "exit 1")
    package = tmp_path / "site" / "ziglang"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    copied = "shutil.copy(sys.argv[0].replace('__main__.py', 'made.o'), 't.o')"
    (package / "__main__.py").write_text(f"import shutil, sys\nassert sys.argv[1] == 'cc'\n{copied}\n")
    (package / "made.o").write_bytes(make_object([Part(".text", NOP)], [Name("stubbed", 1)]))
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(empty_path))
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    tools, _ = find_tools()
    assert [tool.command[:4] for tool in tools] == [(sys.executable, "-m", "ziglang", "cc")]
    assert load_source(source(tmp_path, REFUSED), nr_cpus=8).assembler == "zig"


def test_name_that_the_text_assigns_reaches_the_assembler_as_a_name(tmp_path: Path, empty_path: Path) -> None:
    """``.equ 8, 9`` is nonsense; a name that the preprocessor is asked about is a macro all the same."""
    stub(empty_path, "clang", copying(empty_path))
    (tmp_path / "part.inc").write_text(".ifndef THREAD_SIZE\n.endif\nTSK_STACK = 5\n")
    text = '.equ NR_CPUS, 9\n#include "part.inc"\n#if DRAM_BASE\n#endif\n.set DRAM_BASE, 1\n' + REFUSED
    load_source(source(tmp_path, text), nr_cpus=8)
    arguments = (empty_path / "clang.arguments").read_text().splitlines()
    macros = {argument[2:].partition("=")[0] for argument in arguments if argument.startswith("-D")}
    assert not macros & {"NR_CPUS", "THREAD_SIZE", "TSK_STACK"}
    assert {"DRAM_BASE", "IMAGE_PA", "__ASSEMBLY__"} <= macros
    assert "-Wa,-defsym,NR_CPUS=8" in arguments


# --- errors


def refusal(path: Path) -> str:
    with pytest.raises(AssemblyError) as caught:
        load_source(path, nr_cpus=8)
    assert caught.value.exit_status == 125
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_error_without_another_assembler_says_what_is_not_there(tmp_path: Path, empty_path: Path) -> None:
    path = source(tmp_path, REFUSED)
    assert refusal(path) == (
        f"{path}:2: keystone: pacia x1, x2: Invalid mnemonic (KS_ERR_ASM_MNEMONICFAIL); "
        f"not installed: {gnu.INSTALL}, {clang.INSTALL}, {zig.INSTALL}"
    )


def test_error_names_every_assembler_that_was_tried(tmp_path: Path, empty_path: Path) -> None:
    """The first error each reports, on one line, without the temporary folder."""
    path = source(tmp_path, REFUSED)
    stub(empty_path, GNU, f"echo '{path}: Assembler messages:' >&2; echo '{path}:2: Error: no'; exit 1")
    stub(empty_path, "clang", f"echo '{path}:2:7: error: never' >&2; echo more; exit 1")
    assert refusal(path).endswith(
        f"; {GNU}: {path}:2: Error: no; clang: {path}:2: error: never; not installed: {zig.INSTALL}"
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("exit 3", "ended with status 3"),
        ("echo strange; exit 3", r"strange \(ended with status 3\)"),
        ("kill -9 $$", "ended with signal 9"),
        ("exit 0", "made no object"),
        ("echo nonsense > t.o", "not an ELF file"),
        ("printf 'a: fatal error: \\033[1mx\\n'; exit 1", r"a: fatal error: \?\[1mx"),
    ],
)
def test_tool_that_fails_in_its_own_way_is_an_error(
    body: str, reason: str, tmp_path: Path, empty_path: Path
) -> None:
    stub(empty_path, "clang", body)
    path = source(tmp_path, REFUSED)
    with pytest.raises(AssemblyError, match=rf"my\.S:2: keystone: .*; clang: .*{reason}"):
        load_source(path, nr_cpus=8)
    assert "\n" not in refusal(path)


def test_tool_that_does_not_start_is_an_error(tmp_path: Path, empty_path: Path) -> None:
    (empty_path / "clang").write_text("#!/no/such/program\n")
    (empty_path / "clang").chmod(0o755)
    assert "; clang: does not start: No such file" in refusal(source(tmp_path, REFUSED))


def test_tool_that_hangs_ends_with_its_children(
    tmp_path: Path, empty_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler's driver waits for the assembler, which would keep our pipe open."""
    stub(empty_path, "clang", "sleep 60 & sleep 60")
    monkeypatch.setattr(toolchain, "TOOL_SECONDS_MAX", 0.3)
    started = time.monotonic()
    assert "; clang: gave no answer within 0.3 s" in refusal(source(tmp_path, REFUSED))
    assert time.monotonic() - started < 30


@needs_gcc
def test_text_that_fills_the_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "OUTPUT_BYTES_MAX", 1 << 20)
    assert f"; {GNU}: " in refusal(source(tmp_path, REFUSED + ".zero 1 << 40\n"))


@needs_gcc
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (REFUSED + "b nowhere\n", "not defined: nowhere"),
        (
            REFUSED + 'tbz x0, #1, a\n.zero 0x20000\na: nop\n.section .text.b, "ax"\nb: tbz x0, #1, a\n',
            "Error",
        ),
        (REFUSED + "bogus x1\n", r"my\.S:3: Error: unknown mnemonic"),
        ("#define A 1\n", "no instruction and no data"),
        ('#include "nowhere.h"\n' + REFUSED, r"my\.S:1: fatal error: nowhere\.h: No such file"),
    ],
)
def test_error_of_gnu_is_told(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(AssemblyError, match=rf"my\.S:\d+: keystone: .*; {GNU}: .*{reason}"):
        load_source(source(tmp_path, text), nr_cpus=8)


def test_text_that_does_not_link_is_not_tried_again(tmp_path: Path, empty_path: Path) -> None:
    (empty_path / "empty.o").write_bytes(make_object([Part(".text")]))
    stub(empty_path, GNU, f"cp '{empty_path}/empty.o' t.o")
    stub(empty_path, "clang", copying(empty_path))
    assert refusal(source(tmp_path, REFUSED)).endswith("my.S: no instruction and no data in it")
    assert not (empty_path / "clang.arguments").exists()


def test_file_that_cannot_be_read_is_nobodys_to_assemble(tmp_path: Path, empty_path: Path) -> None:
    stub(empty_path, "clang", copying(empty_path))
    with pytest.raises(InvalidSubject, match=r"nothing\.S: No such file"):
        load_source(tmp_path / "nothing.S", nr_cpus=8)
    assert not (empty_path / "clang.arguments").exists()


def test_a_tool_is_a_name_and_a_command() -> None:
    """By default it has a preprocessor."""
    assert Tool("x", ("x",)).compiles


# --- the command line

COUNT = """\
#define COUNT(address, value) \\
        adr     address, my_count; \\
        ldr     value, [address]; \\
        add     value, value, #1; \\
        str     value, [address]
"""


@needs_gcc
def test_boot_path_with_what_keystone_lacks_boots(tmp_path: Path) -> None:
    """The example with a macro of the preprocessor, and data in a section of its own."""
    text = (ROOT / "examples/my_boot.S").read_text()
    text = text.replace("my_found:\n", "my_found:\nCOUNT(x5, x6)\n").replace(
        "#include", COUNT + "#include", 1
    )
    text += "\n        .section .data\n        .balign 8\nmy_count: .quad 0\n"
    path = source(tmp_path, text)
    done = run_emu("boot", str(path), "--cpus", "4")
    assert (done.returncode, done.stderr) == (0, "")
    assert "pass: 4 of 4 CPUs online" in done.stdout
    shown = run_emu("info", str(path)).stdout.splitlines()
    assert f"assembler:       {GNU}" in shown


@needs_gcc
def test_object_boots(tmp_path: Path) -> None:
    """Labels of an object are at their VA: text that adds VA_OFFSET itself is told that there is none."""
    built = tmp_path / "my_boot.o"
    text = constants_include(8, {"VA_OFFSET": 0}) + f'#include "{ROOT}/examples/my_boot.S"\n'
    folders = [f"-I{asm_dir()}", f"-I{asm_dir() / 'include'}"]
    command = [GNU, "-c", "-x", "assembler-with-cpp", *folders, "-o", str(built), str(source(tmp_path, text))]
    run_program(*command, timeout=60)
    done = run_emu("boot", str(built), "--cpus", "8")
    assert (done.returncode, done.stderr) == (0, "")
    assert "pass: 8 of 8 CPUs online" in done.stdout
    shown = run_emu("info", str(built)).stdout
    assert "kind:            object" in shown
    assert "__cpu_logical_map" in shown
