"""Programs that a user brings, the starting side included: a ``.S`` with ``start:`` lines, a function."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from programs import run_emu, run_program

from emu.errors import EmuError, InvalidCase, Untestable
from emu.explore import explore
from emu.host.own_firmware import Reply, Request
from emu.report.story import story_of

CPU_ON = """        movz    x0, #0xc400, lsl #16
        movk    x0, #3
        mov     x1, #1
        adr     x2, worker
        mov     x3, #0
        smc     #0"""
STARTS = """/* starts - the boot CPU hands a value to the CPU that it switches on
 *
 * start: boot main
{header}
 */
main:   adr     x20, slot
        mov     x21, #7
{body}
        b       .
worker: adr     x20, slot
        ldr     x22, [x20]
took:   b       took
        .balign 64
slot:   .quad   0
        .balign 64
"""
STORE_FIRST = "        str     x21, [x20]\n" + CPU_ON
STORE_LATE = CPU_ON + "\n        str     x21, [x20]"
TOOK = " * assert: at took: x22 == 7\n * assert: eventually cpu1@took"


def written(folder: Path, body: str, header: str = TOOK, name: str = "starts.S") -> str:
    """Write the program; give its path."""
    path = folder / name
    path.write_text(STARTS.format(header=header, body=body))
    return str(path)


def test_a_boot_cpu_that_stores_after_cpu_on_is_found_and_one_that_stores_before_passes(
    tmp_path: Path,
) -> None:
    done = run_emu("explore", written(tmp_path, STORE_LATE), "--cpus", "2", "--json")
    assert done.returncode == 1
    (found,) = json.loads(done.stdout)["findings"]
    assert (found["rule"], found["what"], found["cpus"]) == ("property", "at", [1])
    assert run_emu("replay", found["case"]).returncode == 1
    boot = run_emu("boot", "--case", found["case"])
    assert boot.returncode == 1
    assert "does not hold when CPU1 comes to PC" in boot.stdout
    right = run_emu("explore", written(tmp_path, STORE_FIRST), "--cpus", "2", "--json")
    assert (right.returncode, json.loads(right.stdout)["complete"]) == (0, True)


def test_a_boot_and_a_step_of_own_programs_end_as_they_do(tmp_path: Path) -> None:
    path = written(tmp_path, STORE_FIRST)
    done = run_emu("boot", path, "--cpus", "2")
    assert done.returncode == 0
    assert "CPU1: branches to itself, at took" in done.stdout
    assert "pass: 2 CPUs, 0 findings" in done.stdout
    data = json.loads(run_emu("boot", path, "--cpus", "2", "--json").stdout)
    assert [cpu["outcome"] for cpu in data["cpus"]] == ["branches to itself"] * 2
    script = tmp_path / "script"
    script.write_text("continue\nregs\n")
    stepped = run_program(sys.executable, "-m", "emu", "step", path, "--cpus", "2", "--script", script)
    assert "pass: 0 findings" in stepped.stdout


def test_data_that_a_cpu_leaves_in_its_cache_is_stale_for_the_one_it_starts(tmp_path: Path) -> None:
    """CPU1 begins with its MMU off: the boot CPU, whose MMU is on, has to clean the slot."""
    dirty = written(tmp_path, STORE_FIRST, f"{TOOK}\n * mmu: on")
    done = run_emu("explore", dirty, "--cpus", "2", "--memory", "caches", "--all", "--json")
    assert done.returncode == 1
    assert {"stale", "property"} <= {found["rule"] for found in json.loads(done.stdout)["findings"]}


@pytest.mark.parametrize(("barrier", "status"), [("dsb sy", 0), ("dmb sy", 0), ("nop", 1)])
def test_a_dsb_of_a_program_ends_its_maintenance(barrier: str, status: int, tmp_path: Path) -> None:
    """A PE's barrier is an operation: the exploration left it out, and its maintenance was late for ever."""
    clean = f"[x20]\n        dc civac, x20\n        {barrier}\n"
    path = written(tmp_path, STORE_FIRST.replace("[x20]\n", clean, 1), f"{TOOK}\n * mmu: on")
    done = run_emu("explore", path, "--cpus", "2", "--memory", "caches", "--json")
    assert done.returncode == status, done.stdout


# -- firmware ---------------------------------------------------------------------------------------

FIRMWARE = """def call(request):
    if request.function_id != 0xC4000003:
        return -1
    target = request.hwids.index(request.x1)
    if target in request.on:
        return -4
    calls = (request.state or 0) + 1
    return Reply(0, start=[(target, request.x2, calls)], state=calls)
"""


def test_a_python_file_answers_in_the_place_of_psci(tmp_path: Path) -> None:
    (tmp_path / "fw.py").write_text(FIRMWARE)
    twice = STORE_FIRST + "\n" + CPU_ON + "\n        mov     x24, x0"
    path = written(tmp_path, twice, f"{TOOK}\n * firmware: fw.py\n * assert: finally cpu0:x24 == -4")
    for command in ("explore", "boot"):
        done = run_emu(command, path, "--cpus", "2")
        assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "fw.py").write_text(FIRMWARE.replace("return -4", "return -2"))
    assert run_emu("explore", path, "--cpus", "2").returncode == 1


@pytest.mark.parametrize("command", [("boot", "--case"), ("replay",)])
def test_a_case_is_of_the_python_file_that_answers_too(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "fw.py").write_text(FIRMWARE)
    path = written(tmp_path, STORE_LATE, f"{TOOK}\n * firmware: fw.py")
    (found,) = json.loads(run_emu("explore", path, "--cpus", "2", "--json").stdout)["findings"]
    assert run_emu(*command, found["case"]).returncode == 1
    (tmp_path / "fw.py").write_text(FIRMWARE + "# edited\n")
    done = run_emu(*command, found["case"])
    assert done.returncode == 2
    assert "the bytes that the case was made with are gone" in done.stderr


HANDLER = """/* handler - SMC goes to code of the file, which releases a CPU that waits in WFE
 *
 * start: boot main
 * start: secondary pen
 * firmware: at smc_entry
 * assert: finally [count] == 1
 */
main:   mov     x0, #5
        smc     #0
        b       .
pen:    adr     x20, release
1:      wfe
        ldr     x0, [x20]
        cbz     x0, 1b
        adr     x21, count
        mov     x1, #1
        str     x1, [x21]
        b       .
smc_entry:
        mrs     x5, currentel
        adr     x20, release
        str     x0, [x20]
        dsb     sy
        {event}
        eret
        .balign 64
release: .quad  0
        .balign 64
count:  .quad   0
"""


def test_code_of_the_file_answers_smc(tmp_path: Path) -> None:
    """It runs at EL2 on the CPU that calls, and ERET goes on behind the SMC; without SEV nobody wakes."""
    path = tmp_path / "handler.S"
    path.write_text(HANDLER.format(event="sev"))
    done = run_emu("explore", str(path), "--cpus", "2", "--assert", "finally cpu0:x5 == 8")
    assert done.returncode == 0, done.stdout
    assert run_emu("boot", str(path), "--cpus", "2").returncode == 0
    path.write_text(HANDLER.format(event="nop"))
    done = run_emu("explore", str(path), "--cpus", "2", "--all", "--json")
    assert {found["rule"] for found in json.loads(done.stdout)["findings"]} == {"property", "stuck"}


def test_without_firmware_smc_is_undefined(tmp_path: Path) -> None:
    path = written(tmp_path, STORE_FIRST, " * firmware: none")
    done = run_emu("boot", path, "--cpus", "2", "--json")
    ends = [cpu["outcome"] for cpu in json.loads(done.stdout)["cpus"]]
    assert ends[0].startswith("no code at its exception vector")
    assert ends[1] == "off"


DIES = """/* dies - a CPU takes an exception
 *
 * start: boot {starts[0]}
 * start: secondary {starts[1]}
 */
raises: {setup}
        {bad}
done:   b       .
idle:   b       .
        .balign 2048
vectors: .skip  0x200
        mrs     x1, elr_el1
        add     x1, x1, #4
        msr     elr_el1, x1
        eret
"""
VECTORS = "adr x1, vectors\n msr vbar_el1, x1\n isb"


@pytest.mark.parametrize("command", ["boot", "explore"])
@pytest.mark.parametrize("cpu", [0, 1])
@pytest.mark.parametrize(
    ("bad", "esr"),
    [
        ("mov x0, #1\n ldr x2, [x0, #2]", "ESR 0x96000010"),  # nobody answers at PA 3
        (".word 0", "ESR 0x2000000"),
        ("hvc #7", "ESR 0x2000000"),  # there is no EL2
        ("mrs x0, s3_6_c1_c1_0", "ESR 0x2000000"),
    ],
)
def test_an_exception_that_no_code_handles_is_a_finding(
    tmp_path: Path, bad: str, esr: str, cpu: int, command: str
) -> None:
    """Of each CPU, and with the exception that it took, not that of its vector; its twin handles it."""
    path = tmp_path / "dies.S"
    starts = ("idle", "raises") if cpu else ("raises", "idle")
    path.write_text(DIES.format(starts=starts, setup="nop", bad=bad))
    done = run_emu(command, str(path), "--cpus", "2")
    assert done.returncode == 1, done.stdout
    words = " ".join(done.stdout.split())
    assert f"finding (arrival): CPU{cpu} takes an exception that no code handles, {esr}" in words
    path.write_text(DIES.format(starts=starts, setup=VECTORS, bad=bad))
    done = run_emu(command, str(path), "--cpus", "2", "--assert", f"finally cpu{cpu}@done")
    assert done.returncode == 0, done.stdout


# -- headers ------------------------------------------------------------------------------------------


def test_each_cpu_may_begin_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "each.S"
    path.write_text(
        "/* each\n * start: secondary common\n * start: boot main\n * start: hwid(0x2) own\n */\n"
        "main: b main\ncommon: b common\nown: b own\n"
    )
    done = run_emu(
        "boot", str(path), "--cpus", "4", "--assert", "finally cpu0@main && 1@common && 2@own && 3@common"
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (" * start: boot", "CPUs and a label are expected"),
        (" * start: cpu9 main", "cpu9: there are CPU0 to CPU1"),
        (" * start: hwid(7) main", "hwid(0x7): no CPU has it"),
        (" * start: cpu1 nowhere", "nowhere: no such label"),
        (" * start: boot other", "boot is there twice"),
        (" * start: secondary? main", "each of them begins there"),
        (" * start: x main", "CPUs are expected"),
        (" * mmu: maybe", "not one of on, off"),
        (" * firmware: tf-a", "not one of psci, none"),
        (" * firmware: none.py", "No such file"),
        (" * firmware: at nowhere", "nowhere: no such label"),
    ],
)
def test_a_wrong_line_is_refused_with_file_and_line(header: str, reason: str, tmp_path: Path) -> None:
    path = written(tmp_path, STORE_FIRST, header)
    done = run_emu("boot", path, "--cpus", "2")
    assert done.returncode == 2
    assert done.stderr.startswith(f"emu: {path}:4: ")
    assert reason in done.stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [("x = ", "SyntaxError"), ("1 / 0", "ZeroDivisionError"), ("x = 1", "it defines no call(request)")],
)
def test_a_firmware_file_that_is_none_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "fw.py").write_text(text)
    done = run_emu("boot", written(tmp_path, STORE_FIRST, " * firmware: fw.py"), "--cpus", "2")
    assert done.returncode == 2
    assert reason in done.stderr


@pytest.mark.parametrize(
    "option", ["--bringup=serial", "--fault=1:late:5", "--cycle=1", "--base=v3", "--kexec=v3"]
)
def test_what_a_host_side_would_do_is_refused(option: str, tmp_path: Path) -> None:
    done = run_emu("boot", written(tmp_path, STORE_FIRST), "--cpus", "2", option)
    assert done.returncode == 2
    assert "brings its own programs" in done.stderr


# -- the function -------------------------------------------------------------------------------------

LOAD = "adr x1, x\nldr x2, [x1]"
STORE = "adr x1, x\nmov x2, #1\nstr x2, [x1]"
ADD = "adr x1, x\nldr x2, [x1]\nadd x2, x2, #1\nstr x2, [x1]"
ADD_ALONE = "adr x1, x\n1: ldxr x2, [x1]\nadd x2, x2, #1\nstxr w3, x2, [x1]\ncbnz w3, 1b"


def test_the_function_explores_programs_and_gives_outcomes() -> None:
    done = explore([STORE, LOAD], {"x": 0}, ["finally [x] == 1"])
    done.assert_pass()
    found = done.outcomes("cpu1:x2", "[x]")
    assert set(found) == {(0, 1), (1, 1)}
    assert run_emu("boot", "--case", found[0, 1], "--assert", "finally cpu1:x2 == 0").returncode == 0


def test_the_function_tells_a_story_of_what_it_finds_and_passes_the_twin() -> None:
    done = explore([ADD, ADD], {"x": 0}, ["finally [x] == 2"])
    assert done.complete
    assert {finding.rule for finding in done.findings} == {"lost-update", "property"}
    with pytest.raises(AssertionError, match=r"property \(finally\): text finally \[x\] == 2\n  case: "):
        done.assert_pass()
    number = [finding.rule for finding in done.findings].index("property")
    lines = story_of(done, number).splitlines()
    assert lines[-1] == f"case: {done.confirmed(number).found.case}"
    with pytest.raises(InvalidCase, match="finding 3: there are 3, from 0 on"):
        story_of(done, 3)
    assert any("does not hold at the end: finally [x] == 2" in line for line in lines)
    assert any("store x <- 0x1" in line for line in lines)
    explore([ADD_ALONE, ADD_ALONE], {"x": 0}, ["finally [x] == 2"]).assert_pass()


def test_memory_models_give_different_outcomes() -> None:
    """With caches CPU1, whose MMU is off, may find either what memory had or what was written back."""
    publish = "adr x1, x\nmov x2, #1\nstr x2, [x1]\nsmc #0\nb .\ngo: adr x1, x\nldr x2, [x1]"

    def firmware(request: Request) -> Reply:
        return Reply(0, start=[(1, go, 0)])

    go = 0x4020_0000 + 5 * 4
    outcomes = {}
    for model in ("coherent", "caches"):
        done = explore({"boot": publish}, {"x": 0}, model=model, cpus=2, mmu=True, firmware=firmware)
        outcomes[model] = {value for (value,) in done.outcomes("cpu1:x2")}
    assert outcomes == {"coherent": {1}, "caches": {0, 1}}


def test_firmware_that_fails_is_not_tested() -> None:
    def firmware(request: Request) -> Reply:
        return Reply(0, start=[(request.cpu, 0, 0)])

    with pytest.raises(Untestable, match="CPU0 cannot be switched on"):
        explore(["smc #0"], firmware=firmware)


def test_several_words_have_one_name() -> None:
    done = explore(["ldr x1, =t\nldr x2, [x1, #8]"], {"t": [1, 2]})
    assert set(done.outcomes("cpu0:x2", "[t]", "[t+8]")) == {(2, 1, 2)}


def test_what_is_not_modelled_is_said() -> None:
    assert explore(["tlbi vmalle1\ndsb sy"]).unmodelled == {"TLBs": 1}
    assert explore(["nop"]).unmodelled == {}


@pytest.mark.parametrize("command", ["boot", "explore"])
def test_a_wfe_that_the_event_stream_would_end_is_not_tested(command: str, tmp_path: Path) -> None:
    """Neither asleep for ever nor a pass; without the stream it is asleep."""
    program = "/*\n * start: boot main\n */\nmain: mov x0, #{}\n msr cntkctl_el1, x0\n wfe\n b ."
    for control, status in ((0x44, 125), (0x40, 0)):
        path = tmp_path / "waits.S"
        path.write_text(program.format(control))
        done = run_emu(command, path, "--cpus", "2")
        assert done.returncode == status
        said = "WFE with the event stream on" in done.stdout + done.stderr
        assert said is (status == 125)


def test_the_text_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    done = explore([LOAD], {"x": 3}, folder=tmp_path)
    assert (tmp_path / "programs.S").read_text() == done.source
    assert run_emu("explore", str(tmp_path / "programs.S"), "--cpus", "1").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"programs": []}, "no program"),
        ({"programs": ["nop"], "properties": ["nevr x"]}, "nevr"),
        ({"programs": ["nop"], "properties": ["never 1\n"], "memory": {}}, ""),
        ({"programs": ["nop"], "properties": ["never 1 */"]}, "one line is expected"),
        ({"programs": ["frob x1"]}, "frob"),
        ({"programs": ["nop"], "nonsense": 1}, "nonsense"),
        ({"programs": ["nop"], "model": "tso"}, "tso"),
        ({"programs": {"cpu4": "nop"}}, "cpu4"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], reason: str) -> None:
    if not reason:
        explore(**arguments)  # type: ignore[arg-type]
        return
    with pytest.raises(EmuError, match=reason):
        explore(**arguments)  # type: ignore[arg-type]


def test_a_bound_that_leaves_something_out_has_no_set_of_outcomes() -> None:
    done = explore([STORE, LOAD, LOAD], {"x": 0}, schedules=1)
    assert not done.complete
    with pytest.raises(AssertionError, match="1 schedules"):
        done.assert_pass()
    with pytest.raises(InvalidCase, match="there may be more"):
        done.outcomes("[x]")
