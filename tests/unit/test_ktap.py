"""KTAP version 1: a parser written from the specification, held against what the commands print.

The rules are those of Documentation/dev-tools/ktap.rst (Linux v6.12), read strictly: unknown lines, which a
parser may pass over, are errors here, because nothing of ours needs them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from programs import run_emu

from emu.case import Case
from emu.host.build import build
from emu.lookup.single import PROPERTIES
from emu.report.boot_property import boot_suite
from emu.report.ktap import ktap
from emu.report.property import Group, Property, Result, Suite
from emu.rules import RULES, SEES
from emu.rules import judge as judge_boot

_RESULT = re.compile(
    r"(ok|not ok) ([1-9]\d*)(?: ([^#]*?))?(?: # ?(?:(SKIP|TODO|XFAIL|TIMEOUT|ERROR)\b ?)?(.*))?"
)
_BAD = re.compile("[\x00-\x1f\x7f-\x9f]|\\s$")  # nothing of this stands in a line


class NotKtap(ValueError):
    """A line that breaks a rule."""


@dataclass
class Test:
    """One test as parsed; ``diagnostics`` stand before its result line, or before its subtests."""

    __test__ = False
    name: str
    result: str = ""
    reason: str = ""
    diagnostics: list[str] = field(default_factory=list)
    subtests: list[Test] = field(default_factory=list)

    def __getitem__(self, name: str) -> Test:
        return next(test for test in self.subtests if test.name == name)

    def results(self) -> dict[str, str]:
        return {test.name: test.result for test in self.subtests}


class Parser:
    """Parses one whole output."""

    def __init__(self, text: str) -> None:
        if not text.endswith("\n"):
            raise NotKtap("the last line does not end")
        self.lines = text.split("\n")[:-1]
        self.at = 0

    def parse(self) -> Test:
        root = Test("")
        self.tests(root, "")
        if self.at != len(self.lines):
            self.refuse("something follows the last result")
        return root

    def tests(self, parent: Test, indent: str) -> None:
        """Version line, plan, and as many results as it says, each behind what belongs to it."""
        self.take(re.escape(f"{indent}KTAP version 1"), "no version line")
        parent.diagnostics += self.diagnostics(indent)
        count = int(self.take(rf"{indent}1\.\.(0|[1-9]\d*)", "no plan behind the version line")[1])
        for number in range(1, count + 1):
            test = Test("")
            test.diagnostics += self.diagnostics(indent)
            if self.peek() == f"{indent}  KTAP version 1":
                self.tests(test, f"{indent}  ")
                test.diagnostics += self.diagnostics(indent)
            self.result(test, number, indent)
            parent.subtests.append(test)

    def result(self, test: Test, number: int, indent: str) -> None:
        match = self.take(re.escape(indent) + _RESULT.pattern, "no result line")
        test.name, test.reason = match[3] or "", match[5] or ""
        test.result = match[4] or match[1]
        self.at -= 1
        if int(match[2]) != number:
            self.refuse(f"the number is not {number}")
        if match[4] in ("TIMEOUT", "ERROR") and match[1] == "ok":
            self.refuse("this directive goes with not ok")
        failed = any(subtest.result in ("not ok", "TIMEOUT", "ERROR") for subtest in test.subtests)
        if test.subtests and failed != (match[1] == "not ok"):
            self.refuse("a test fails if one of its subtests does")
        self.at += 1

    def diagnostics(self, indent: str) -> list[str]:
        found = []
        while (line := self.peek()).startswith(f"{indent}#"):
            if not re.match(r"# \S|#  |#$", line.removeprefix(indent)):
                self.refuse("a diagnostic line begins with '# '")
            found.append(line.removeprefix(indent)[2:])
            self.at += 1
        return found

    def peek(self) -> str:
        return self.lines[self.at] if self.at < len(self.lines) else ""

    def take(self, pattern: str, otherwise: str) -> re.Match[str]:
        match = re.fullmatch(pattern, self.peek())
        if match is None or _BAD.search(self.peek()):
            self.refuse(otherwise)
        assert match is not None
        self.at += 1
        return match

    def refuse(self, why: str) -> None:
        raise NotKtap(f"line {self.at + 1}: {self.peek()!r}: {why}")


_UNSEEN = ("operations", "model", "states", "properties")  # of a boot that nobody says more of


def parse(text: str) -> Test:
    return Parser(text).parse()


SPECIFICATION = """KTAP version 1
1..1
  KTAP version 1
  1..3
    KTAP version 1
    1..1
    # test_1: initializing test_1
    ok 1 test_1
  ok 1 example_test_1
    KTAP version 1
    1..2
    ok 1 test_1 # SKIP test_1 skipped
    ok 2 test_2
  ok 2 example_test_2
    KTAP version 1
    1..3
    ok 1 test_1
    # test_2: FAIL
    not ok 2 test_2
    ok 3 test_3 # SKIP test_3 skipped
  not ok 3 example_test_3
not ok 1 main_test
"""


def test_the_parser_reads_the_example_of_the_specification() -> None:
    main = parse(SPECIFICATION)["main_test"]
    assert main.result == "not ok"
    assert main["example_test_2"].results() == {"test_1": "SKIP", "test_2": "ok"}
    assert main["example_test_3"]["test_2"].diagnostics == ["test_2: FAIL"]
    assert main["example_test_3"]["test_3"].reason == "test_3 skipped"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("KTAP version 1\n1..1", "KTAP version 2\n1..1"),
        ("KTAP version 1\n1..1", "1..1"),
        ("1..3\n    ok", "1..4\n    ok"),
        ("1..3\n    ok", "1..2\n    ok"),
        ("ok 2 test_2\n  ok", "ok 3 test_2\n  ok"),
        ("    # test_2: FAIL", "    #test_2: FAIL"),
        ("    # test_2: FAIL", "    FAIL"),
        ("    # test_2: FAIL", "  # test_2: FAIL"),
        ("not ok 1 main", "ok 1 main"),
        ("    not ok 2", "    ok 2"),
        ("  ok 1 example_test_1", "    ok 1 example_test_1"),
        ("# SKIP test_1 skipped", "# TIMEOUT 30 seconds"),
        ("ok 1 main_test\n", "ok 1 main_test"),
        ("ok 1 main_test\n", "ok 1 main_test\nok 2 more\n"),
        ("ok 1 main_test\n", "ok 1 main\a_test\n"),
    ],
)
def test_the_parser_refuses_what_the_specification_does(old: str, new: str) -> None:
    assert SPECIFICATION.count(old) == 1
    with pytest.raises(NotKtap):
        parse(SPECIFICATION.replace(old, new))


def test_a_lookup_that_holds_has_one_test_for_each_property() -> None:
    done = run_emu("lookup", "v3", "--ktap", "--cases", "500", "--nr-cpus", "2")
    subject = parse(done.stdout)["lookup v3"]
    assert (done.returncode, done.stderr) == (0, "")
    assert "case: v3" in subject.diagnostics
    assert subject.results() == dict.fromkeys(PROPERTIES, "ok")


def test_a_planted_failure_has_case_map_and_window_before_its_result() -> None:
    done = run_emu("lookup", "rfc", "--ktap", "--cases", "100", "--nr-cpus", "1")
    subject = parse(done.stdout)["lookup rfc"]
    assert done.returncode == 1
    assert (subject.result, subject["answer"].result) == ("not ok", "not ok")
    text = "\n".join(subject["answer"].diagnostics)
    for part in ("finding (answer): finds CPU 0", "map -, MPIDR_EL1", "expected none; found", "> found "):
        assert part in text
    case = subject["answer"].diagnostics[-1].strip().removeprefix("case: ")
    assert run_emu("lookup", "--case", case).returncode == 1
    assert subject["concurrent"].result == "SKIP"


def test_what_the_contract_does_not_promise_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "mine.S").write_text("mov x19, #0\nfind: mov x19, #0\nfound: nop\nmissing: nop\n")
    (tmp_path / "mine.toml").write_text(
        "lookup = { entry = 'find', found = 'found', missing = 'missing', index = 'x19' }\n"
        "table = [{ symbol = '__cpu_logical_map' }]\n"
    )
    done = run_emu("lookup", "mine.S", "--ktap", "--cases", "10", "--nr-cpus", "1", cwd=tmp_path)
    subject = parse(done.stdout)["lookup mine.S"]
    assert subject["bound"].reason == "the contract promises no bound"
    assert subject["concurrent"].result == "SKIP"
    assert subject["answer"].result == "not ok"


def test_one_question_skips_what_it_does_not_look_at() -> None:
    wrong = parse(run_emu("lookup", "--case", "rfc nr-cpus=1 map= mpidr=0", "--ktap").stdout)["lookup rfc"]
    assert wrong.results() == {"answer": "not ok", "exit": "ok"} | dict.fromkeys(PROPERTIES[2:], "SKIP")
    right = parse(run_emu("lookup", "--case", "v3 nr-cpus=1 map=0 mpidr=0", "--ktap").stdout)["lookup v3"]
    assert right.results() == dict.fromkeys(PROPERTIES[:-1], "ok") | {"concurrent": "SKIP"}
    raced = parse(run_emu("lookup", "--case", "v3 nr-cpus=2 race=1", "--ktap").stdout)["lookup v3"]
    assert raced.results() == dict.fromkeys(PROPERTIES[:-1], "SKIP") | {"concurrent": "ok"}


def test_a_subject_that_cannot_be_tested_is_a_skip_and_status_125(tmp_path: Path) -> None:
    done = run_emu("lookup", "mainline", "--ktap", "--junit", str(tmp_path / "out.xml"))
    subject = parse(done.stdout)["lookup mainline"]
    assert done.returncode == 125
    assert subject.results() == {"testable": "SKIP"}
    assert "looks nothing up" in subject["testable"].reason
    assert "looks nothing up" in done.stderr
    assert 'skipped="1"' in (tmp_path / "out.xml").read_text()


def test_a_boot_has_each_rule_below_each_cpu() -> None:
    done = run_emu("boot", "--cpus", "3", "--ktap")
    subject = parse(done.stdout)["boot v3"]
    assert done.returncode == 0
    assert list(subject.results()) == ["CPU0", "CPU1", "CPU2", "machine"]
    wanted = {rule: "SKIP" if SEES[rule] in _UNSEEN else "ok" for rule in RULES}
    assert all(test.results() == wanted for test in subject.subtests)


def test_a_boot_that_fails_names_the_cpus_and_where_they_are() -> None:
    done = run_emu("boot", "mainline", "--cpus", "3", "--bringup", "parallel", "--force", "--ktap")
    subject = parse(done.stdout)["boot mainline"]
    assert done.returncode == 1
    assert subject.results() == {"CPU0": "ok", "CPU1": "not ok", "CPU2": "not ok", "machine": "ok"}
    lines = subject["CPU1"]["arrival"].diagnostics
    assert lines[0].startswith("finding (arrival): CPU1, CPU2 took the task")
    assert lines[-1] == "CPU1: runs as CPU2"


def test_a_finding_of_many_cpus_is_told_in_full_once() -> None:
    """Otherwise the text grows with the square of their number."""
    done = run_emu("boot", "mainline", "--cpus", "40", "--bringup", "parallel", "--force", "--ktap")
    subject = parse(done.stdout)["boot mainline"]
    told = [cpu["arrival"].diagnostics[:1] for cpu in subject.subtests[:-1]]
    assert told[1][0].endswith("one of it for 39 CPUs")
    assert all(line.startswith("finding (arrival): CPU1, CPU2, CPU3,") for (line,) in told[1:])
    assert all(line.endswith("...") for (line,) in told[2:])
    assert max(len(cpu["arrival"].diagnostics[-1]) for cpu in subject.subtests[1:-1]) < 300


def test_a_number_without_a_cpu_is_skipped() -> None:
    subject = parse(run_emu("boot", "v3", "--topology", "bad-holes:8", "--ktap").stdout)["boot v3"]
    assert set(subject.results().values()) == {"ok", "SKIP"}
    reasons = {test.reason for cpu in subject.subtests for test in cpu.subtests}
    assert {"", "no CPU has this number"} <= reasons


def test_a_boot_that_was_cut_off_is_skipped() -> None:
    boot = build(Case.parse("v3 topology=flat:2 instructions-max=50"))
    boot.machine.run()
    boot.machine.finish()
    verdict = judge_boot(boot.machine.trace)
    assert boot.machine.stopped
    assert not verdict.findings
    subject = parse(ktap(boot_suite(boot, verdict)))["boot v3"]
    assert subject.result == "SKIP"
    assert set(subject.results().values()) == {"SKIP"}
    assert subject["CPU1"]["arrival"].reason.startswith("cut off: ")


def test_names_and_diagnostics_stay_in_their_lines() -> None:
    """A name has neither "#" nor a newline; nothing has control characters."""
    wild = "a#b\nc\x1b[31m\udc80\u2028 "
    group = Group(wild, [Property(wild, Result.FAIL, wild, (wild, "")), Property("x", Result.SKIP, wild)])
    subject = parse(ktap(Suite(group, wild))).subtests[0]
    assert subject.name == "a\\x23b\\nc\\x1b[31m\\udc80\\u2028"
    assert subject.subtests[0].diagnostics == ["a#b", "c\\x1b[31m\\udc80\\u2028", ""]
    assert subject.subtests[1].reason == subject.name


def test_json_and_ktap_are_one_too_many() -> None:
    done = run_emu("boot", "--json", "--ktap")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "emu: --json and --ktap: give one of them\n"
