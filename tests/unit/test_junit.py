"""JUnit XML: the rules of the schema that Jenkins and GitLab read, held against what the commands write."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from programs import run_emu

from emu.errors import InvalidCase
from emu.lookup.single import PROPERTIES
from emu.report.junit import junit, write_junit
from emu.report.property import Group, Property, Result, Suite
from emu.rules import RULES

# The rules of jenkins-junit.xsd. Of each element: attributes it must have, those it may have, its children in
# the order they must have, and whether there is text in it.
_SCHEMA: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], bool]] = {
    "testsuites": ((), ("name", "time", "tests", "failures", "disabled", "errors"), ("testsuite",), False),
    "testsuite": (
        ("name", "tests"),
        ("failures", "errors", "time", "disabled", "skipped", "timestamp", "hostname", "id", "package"),
        ("properties", "testcase", "system-out", "system-err"),
        False,
    ),
    "properties": ((), (), ("property",), False),
    "property": (("name", "value"), (), (), False),
    "testcase": (
        ("name",),
        ("assertions", "time", "classname", "status"),
        ("skipped", "error", "failure", "system-out", "system-err"),
        False,
    ),
    "error": ((), ("message", "type"), (), True),
    "failure": ((), ("message", "type"), (), True),
    "skipped": ((), (), (), True),
    "system-out": ((), (), (), True),
    "system-err": ((), (), (), True),
}
_ONCE = ("properties", "skipped")  # of their parent at most one; of a testsuite's system-out and -err too


def check(text: str) -> Xml.Element:
    """Return the root of what holds every rule."""
    root = Xml.fromstring(text.encode())
    assert root.tag == "testsuites"
    for element in root.iter():
        required, optional, children, has_text = _SCHEMA[element.tag]
        assert has_text or not (element.text or "").strip(), element.tag
        assert not (element.tail or "").strip(), element.tag
        tags = [child.tag for child in element]
        once = (*_ONCE, "system-out", "system-err") if element.tag == "testsuite" else _ONCE
        assert all(tags.count(tag) <= 1 for tag in once), element.tag
        assert set(required) <= set(element.attrib) <= {*required, *optional}, element.tag
        places = [children.index(child.tag) for child in element]
        assert places == sorted(places), element.tag
    for counted in (root, *root):
        cases = counted.findall(".//testcase")
        assert int(counted.attrib["tests"]) == len(cases)
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            if name in counted.attrib:
                assert int(counted.attrib[name]) == sum(case.find(tag) is not None for case in cases)
    assert all("skipped" in suite.attrib for suite in root)
    for suite in root:
        names = [(case.attrib["classname"], case.attrib["name"]) for case in suite.iter("testcase")]
        assert len(names) == len(set(names)), "a test case is known by its class and its name"
    return root


def emu(*arguments: str) -> int:
    return run_emu(*arguments).returncode


def test_a_lookup_is_a_suite_with_a_case_for_each_property(tmp_path: Path) -> None:
    path = tmp_path / "lookup.xml"
    assert emu("lookup", "rfc", "--cases", "100", "--nr-cpus", "1", "--junit", str(path)) == 1
    suite = check(path.read_text())[0]
    assert suite.attrib["name"] == "lookup rfc"
    assert [case.attrib["name"] for case in suite.iter("testcase")] == list(PROPERTIES)
    properties = {p.attrib["name"]: p.attrib["value"] for p in suite.iter("property")}
    assert properties["case"] == "rfc"
    assert properties["version"]
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.attrib["message"].startswith("finds CPU 0; no CPU of the map has this hwid")
    assert "case: rfc nr-cpus=1" in (failure.text or "")
    assert os.listdir(tmp_path) == ["lookup.xml"]


def test_a_boot_is_a_suite_with_a_case_for_each_cpu_and_rule(tmp_path: Path) -> None:
    path = tmp_path / "boot.xml"
    assert emu("boot", "--cpus", "2", "--junit", str(path)) == 0
    suite = check(path.read_text())[0]
    cases = [(case.attrib["classname"], case.attrib["name"]) for case in suite.iter("testcase")]
    names = ("boot v3 CPU0", "boot v3 CPU1", "boot v3 machine")
    assert cases == [(name, rule) for name in names for rule in RULES]
    assert "Brought up 1 node, 2 CPUs" in suite.findtext("system-out", "")


def test_the_same_run_writes_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "one.xml", tmp_path / "two.xml"]
    arguments = ("boot", "mainline", "--cpus", "3", "--bringup", "parallel", "--force", "--junit")
    assert emu(*arguments, str(paths[0])) == 1
    command = [sys.executable, "-m", "emu", *arguments, str(paths[1])]  # hashes in another way
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
    assert paths[0].read_bytes() == paths[1].read_bytes()
    check(paths[0].read_text())


def test_anything_can_be_in_a_name_a_message_or_the_log() -> None:
    wild = "".join(map(chr, range(0x100))) + "\ud800\udcff\u2028\ufffe\uffff\U0001f427 ]]> <&\"' &#0;"
    failed = Property("a", Result.FAIL, wild, (wild, wild))
    suite = Suite(
        Group(wild, [failed, Property("b", Result.SKIP, wild), Property("c")]), wild, (wild,), (wild,)
    )
    root = check(junit(suite))
    shown = root[0].attrib["name"]
    for part in (
        "\\x00\\x01",
        "\\x1b",
        "\\x7f",
        "\\x9f",
        "\\ud800\\udcff\\u2028\\ufffe\\uffff",
        "\U0001f427 ]]> <&\"'",
    ):
        assert part in shown
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.attrib["message"] == shown
    assert (failure.text or "").count("]]> <&") == 2


def test_a_file_is_replaced_whole_and_keeps_who_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "out.xml"
    path.write_text("old")
    suite = Suite(Group("s", [Property("p")]), "s")
    write_junit(path, suite)
    assert path.read_text() == junit(suite)
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode
    assert sorted(os.listdir(tmp_path)) == ["out.xml", "plain"]


def test_a_link_and_a_pipe_stay_what_they_are(tmp_path: Path) -> None:
    suite = Suite(Group("s", [Property("p")]), "s")
    link, pipe = tmp_path / "link.xml", tmp_path / "pipe"
    link.symlink_to("real.xml")
    write_junit(link, suite)
    assert link.is_symlink()
    assert (tmp_path / "real.xml").read_text() == junit(suite)
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_junit(pipe, suite)
    reader.join()
    assert got == [junit(suite)]
    assert pipe.is_fifo()


def test_a_place_that_cannot_be_written_is_one_line_and_status_2(tmp_path: Path) -> None:
    missing = tmp_path / "none" / "out.xml"
    done = run_emu("boot", "--cpus", "2", "--junit", missing)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"emu: --junit {missing}: no such directory\n"
    with pytest.raises(InvalidCase, match=r"none/out\.xml: No such file or directory"):
        write_junit(missing, Suite(Group("s", [Property("p")]), "s"))
