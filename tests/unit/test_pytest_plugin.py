"""The pytest plugin, as the tree of another project uses it."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
import tomllib
from pathlib import Path

import pytest
from programs import run_program

import emu

# What is imported first inside of a pytester run is dropped behind it, and imported again by the next: there
# would be two copies of one class, and isinstance() would not know its own. So all is there before.
for _module in pkgutil.walk_packages(emu.__path__, "emu."):
    if not _module.name.endswith(("__main__", "keystone_child")):
        importlib.import_module(_module.name)

pytest_plugins = "pytester"

ROOT = Path(__file__).parents[2]
MINE = """/* SPDX-License-Identifier: GPL-2.0-or-later
 * find - logical CPU number of this PE
 *
 * in:       none; reads MPIDR_EL1
 * out:      x19 = logical CPU number
 * clobbers: x0-x3, NZCV
 * memory:   reads __cpu_logical_map, u64[NR_CPUS] of hwid; writes none
 * state:    EL1, MMU on or off, no stack
 * exits:    falls through at found, within 8*NR_CPUS + 8 instructions; else at missing
 * model:    the logical id of hwid(MPIDR_EL1)
 * source:   original
 */
#include "macros.inc"

find:   mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1
        adr_l   x1, __cpu_logical_map
        mov     x19, #0
scan:   ldr     x3, [x1, x19, lsl #3]
        cmp     x3, x0
        b.eq    found
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    scan
missing:
        b       missing
found:  nop
"""
# Aff3 is lost: the table's entries of 64 bits are compared with 32 bits of the CPU's own.
WRONG = MINE.replace("and     x0, x0, x1", "and     w0, w0, w1")


@pytest.fixture(autouse=True)
def _alone(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    # The plugin of this tree, whether it is installed or not, and no other.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p emu.pytest_plugin -p no:cacheprovider")
    (pytester.path / "mine.S").write_text(MINE)
    (pytester.path / "wrong.S").write_text(WRONG)


def run(pytester: pytest.Pytester, text: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(text)
    return pytester.runpytest_inprocess(*options)


def test_the_package_offers_it_to_pytest() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"emu": "emu.pytest_plugin"}


def test_pytest_starts_without_the_rest_of_emu_and_without_hypothesis() -> None:
    """A project that has emu installed and does not use it pays for this one module."""
    text = "import emu.pytest_plugin, sys; print(*(m for m in sys.modules if m.split('.')[0] in NAMES))"
    text = f"NAMES = ('emu', 'hypothesis', 'unicorn', 'capstone', 'keystone', 'click', 'rich'); {text}"
    done = run_program(sys.executable, "-c", text)
    assert done.stdout.split() == ["emu", "emu.pytest_plugin"]


def test_a_lookup_that_is_right_passes(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
        from emu.pytest_plugin import assert_lookup

        def test_fixture(emu_lookup):
            emu_lookup("mine.S", cases=100, max_cpus=2)

        def test_function():
            assert_lookup("mine.S", cases=100, nr_cpus=[3])
        """,
    )
    done.assert_outcomes(passed=2)


def test_a_failure_shows_the_case_the_window_and_the_registers(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
        def test_it(emu_lookup):
            emu_lookup("wrong.S", cases=100, max_cpus=2)
        """,
    )
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            '>       emu_lookup("wrong.S", cases=100, max_cpus=2)',
            "E       AssertionError: lookup wrong.S: 1 finding in * cases",
            "E       finding (answer): finds CPU 0; no CPU of the map has this hwid",
            "E         NR_CPUS=1, map 0x0, MPIDR_EL1 0x180000000",
            "E         expected none; found, x19 = 0x0 after 10 instructions",
            "E         > found                    nop",
            "E         pc : 00000000402000?? found",
            "E         lr : a5c300000000001e",
            "E         sp : dead000000000000 nzcv: nZCv EL1 MPIDR_EL1: 0x180000000",
            "E         x5 : * x4 : * x3 : 0000000000000000",
            "E         x2 : * x1 : * x0 : 0000000000000000",
            "E         case: wrong.S nr-cpus=1 map=0x0 mpidr=0x180000000",
            "test_a_failure_*.py:2: AssertionError",
        ]
    )
    assert "pytest_plugin.py" not in done.stdout.str(), "the way through the plugin is of no interest"


def test_files_are_found_beside_the_test_and_the_case_can_be_asked_from_where_pytest_ran(
    pytester: pytest.Pytester,
) -> None:
    folder = pytester.mkpydir("below")
    (folder / "theirs.S").write_text(WRONG)
    (folder / "test_it.py").write_text(
        "from emu.pytest_plugin import assert_lookup\n"
        "def test_fixture(emu_lookup): emu_lookup('theirs.S', cases=0, nr_cpus=[1])\n"
        "def test_function(): assert_lookup('theirs.S', cases=0, nr_cpus=[1])\n"
        "def test_from_above(emu_lookup): emu_lookup('mine.S', cases=0, nr_cpus=[1])\n"
    )
    done = pytester.runpytest_inprocess()
    done.assert_outcomes(passed=1, failed=2)
    done.stdout.fnmatch_lines(["E*case: below/theirs.S nr-cpus=1 map=*"])


def test_a_contract_may_be_given(pytester: pytest.Pytester) -> None:
    (pytester.path / "bare.S").write_text("find: mrs x19, mpidr_el1\nmov x19, #0\nfound: nop\n")
    (pytester.path / "bare.toml").write_text("this is no contract")
    (pytester.path / "other.toml").write_text(
        "lookup = { entry = 'find', found = 'found', index = 'x19' }\ntable = [{ symbol = 't' }]\n"
    )
    done = run(
        pytester,
        """
        from emu.pytest_plugin import assert_lookup

        def test_it():
            assert_lookup("bare.S", contract="other.toml", cases=0, nr_cpus=[1])
        """,
    )
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["E*case: bare.S nr-cpus=1 contract=other.toml map= mpidr=*"])


def test_bad_input_is_one_line_at_the_line_that_gave_it(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
        def test_it(emu_lookup):
            emu_lookup("none.S")
        """,
    )
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        ['>       emu_lookup("none.S")', "E       emu.errors.InvalidSubject: none.S: no such file, *"]
    )
    assert "load.py" not in done.stdout.str()


def test_one_question_is_answered_and_checked(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
        import pytest
        from emu.pytest_plugin import Lookup

        def test_right():
            lookup = Lookup("mine.S")
            assert lookup.contract.index == "x19"
            assert lookup.ask([0, None, 0x100], 0x8000_0100) == 2
            assert lookup.ask([0, None, 0x100], 0x8000_0200) is None

        def test_wrong():
            lookup = Lookup("wrong.S")
            with pytest.raises(AssertionError, match="finds nothing; CPU 1 is in the map"):
                lookup.ask([5, 1 << 32], 1 << 32)
        """,
    )
    done.assert_outcomes(passed=2)


def test_a_property_of_a_lookup_is_a_test_with_hypothesis(pytester: pytest.Pytester) -> None:
    """A fixture that lives for the module is one that Hypothesis does not complain of."""
    done = run(
        pytester,
        """
        from emu.pytest_plugin import Lookup
        from emu.topology.generate import hwid_tables, mpidrs
        from hypothesis import Phase, given, settings, strategies as st

        LOOKUP, WRONG = Lookup("mine.S"), Lookup("wrong.S")

        @settings(max_examples=30, database=None, deadline=None, derandomize=True)
        @given(hwid_tables(max_size=16), st.data())
        def test_right(table, data):
            LOOKUP.ask(table, data.draw(mpidrs(table)))

        @settings(max_examples=100, database=None, deadline=None, derandomize=True, phases=[Phase.generate])
        @given(hwid_tables(max_size=16), st.data())
        def test_wrong(table, data):
            WRONG.ask(table, data.draw(mpidrs(table)))

        @settings(max_examples=3, database=None, deadline=None)
        @given(number=st.integers(0, 3))
        def test_fixture(emu_boot, number):
            assert emu_boot(f"v3 topology=flat:2 scheduler=random:{number}").passed
        """,
    )
    done.assert_outcomes(passed=2, failed=1)
    done.stdout.fnmatch_lines(
        ["E*AssertionError: lookup wrong.S:", "E*case: wrong.S nr-cpus=* map=0x* mpidr=0x*"]
    )


def test_the_marker_makes_a_test_of_each_subject(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
        import pytest

        @pytest.mark.emu_subjects("v2", "v3", "wrong.S")
        def test_each(emu_subject, emu_lookup):
            emu_lookup(emu_subject, cases=0, nr_cpus=[1])
        """,
        "-v",
        "--strict-markers",
    )
    done.assert_outcomes(passed=2, failed=1)
    done.stdout.fnmatch_lines(
        ["*test_each[[]v2] PASSED*", "*test_each[[]v3] PASSED*", "*[[]wrong.S] FAILED*"]
    )


def test_a_marker_without_names_and_a_fixture_without_marker_are_errors(pytester: pytest.Pytester) -> None:
    done = run(pytester, "def test_it(emu_subject): pass")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["emu_subject: mark the test with @pytest.mark.emu_subjects('v3', ...)"])
    done = run(
        pytester,
        """
        import pytest

        @pytest.mark.emu_subjects()
        def test_it(emu_subject): pass
        """,
    )
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*emu_subjects: one or more names of subjects"])


def test_a_boot_is_looked_at_from_all_sides(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
        import pytest
        from emu.errors import Untestable
        from emu.pytest_plugin import assert_boot

        def test_right(emu_boot):
            run = emu_boot("v3 topology=smt:8 scheduler=random:3")
            run.assert_pass()
            assert run.outcomes == ["online"] * 8
            assert run.dmesg[-1] == "CPU: All CPU(s) started at EL1"
            assert run.verdict.name == "pass"
            assert run.read("__boot_cpu_mode", 4) == run.read("__boot_cpu_mode", 4, offset=4) == 0xE11
            assert run.read_bytes("__boot_cpu_mode", 2) == b"\\x11\\x0e"
            with pytest.raises(Untestable, match="no_such"):
                run.read("no_such")

        def test_machine(emu_machine):
            boot = emu_machine("v3 topology=flat:4", record=True)
            assert len(boot.machine.actors) == 4
            assert boot.machine.actors[1].landings == 0
            boot.machine.run()
            assert boot.machine.actors[1].landings == 1

        def test_cut_off(emu_boot):
            run = emu_boot("v3 topology=flat:2 instructions-max=50")
            assert run.stopped and not run.findings and not run.passed

        def test_wrong():
            assert_boot("mainline topology=flat:3 bringup=parallel force=1")
        """,
    )
    done.assert_outcomes(passed=3, failed=1)
    done.stdout.fnmatch_lines(
        [
            '>       assert_boot("mainline topology=flat:3 bringup=parallel force=1")',
            "E       AssertionError: boot mainline: 6 findings",
            "E       finding (arrival): CPU1, CPU2 took the task *",
            "E       CPU1: runs as CPU2",
            "E         > secondary_start_kernel* wfe",
            "E         pc : ffff8000800002dc secondary_start_kernel",
            "E       case: mainline topology=flat:3 bringup=parallel base=6.12 force=1",
        ]
    )


def test_what_the_documentation_shows_runs(pytester: pytest.Pytester) -> None:
    """Every block of Python in docs/testing.md is a file of tests, and all of them pass."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/testing.md").read_text(), re.M | re.S)
    (pytester.path / "my_lookup.S").write_text(MINE)
    (pytester.path / "my.toml").write_text(
        "lookup = { entry = 'find', found = 'found', missing = 'missing', index = 'x19', "
        "may_change = ['x0', 'x1', 'x2', 'x3'] }\ntable = [{ symbol = '__cpu_logical_map' }]\n"
    )
    for number, block in enumerate(blocks):
        shorter = block.replace("cases=100_000", "cases=100, max_cpus=3")
        shorter = shorter.replace("cases=10_000, max_cpus=16", "cases=100, max_cpus=3")
        shorter = shorter.replace("cases=1_000, nr_cpus=[1, 256]", "cases=100, nr_cpus=[1, 16]")
        shorter = shorter.replace("deadline=None", "deadline=None, max_examples=20")
        shorter = shorter.replace("max_size=64", "max_size=6")
        (pytester.path / f"test_block_{number}.py").write_text(shorter)
    tests = sum(len(re.findall(r"^def test_", block, re.M)) for block in blocks)
    done = pytester.runpytest_inprocess()
    done.assert_outcomes(passed=tests + 2)  # one of them for three subjects


def test_every_order_of_a_case_is_a_test(pytester: pytest.Pytester) -> None:
    """A finding fails with its story, and so does what was left out, unless that is no matter."""
    done = run(
        pytester,
        """
        def test_outcomes(emu_explore):
            done = emu_explore("v3 topology=flat:3 asserts='eventually 2@secondary_start_kernel'")
            done.assert_pass()
            assert done.outcomes("2@secondary_start_kernel", "vabits_actual == 0") == {(1, 0)}

        def test_property(emu_explore):
            emu_explore("v3 topology=flat:2 asserts='unreachable 1@secondary_start_kernel'").assert_pass()

        def test_right(emu_explore):
            explored = emu_explore("v3 topology=flat:4")
            explored.assert_pass()
            assert explored.complete and explored.schedules == 1

        def test_wrong(emu_explore):
            emu_explore("mainline topology=flat:3 bringup=parallel force=1").assert_pass()

        def test_cut_off(emu_explore):
            explored = emu_explore("v3 topology=flat:3 enable-method=spin-table", schedules=5)
            explored.assert_pass(complete=False)
            explored.assert_pass()
        """,
    )
    done.assert_outcomes(passed=2, failed=3)
    done.stdout.fnmatch_lines(["E*finding (property): CPU1 comes to PC*"])
    done.stdout.fnmatch_lines(
        ["E*finding (arrival): CPU1, CPU2 took the task*", "E*case: mainline *replay:*"]
    )
    done.stdout.fnmatch_lines(["E*explore v3 *: 5 schedules*"])
