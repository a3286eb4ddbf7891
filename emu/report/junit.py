"""Results as continuous integration reads them: JUnit XML, the same for the same run (no times, no host)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as Xml

from emu.errors import InvalidCase
from emu.report.property import Group, Property, Result, Suite, printable, version


def junit(suite: Suite) -> str:
    """Return the XML: a testsuite for the subject, a testcase for each property."""
    cases = list(_cases(suite.group, suite.group.name))
    counts = {
        "tests": len(cases),
        "failures": sum(found.result is Result.FAIL for _, found in cases),
        "errors": 0,
        "skipped": sum(found.result is Result.SKIP for _, found in cases),
    }
    attributes = {"name": printable(suite.group.name), **{name: str(count) for name, count in counts.items()}}
    # What the schema of Jenkins has: no count of the skipped here, and their reason as text.
    root = Xml.Element("testsuites", {name: value for name, value in attributes.items() if name != "skipped"})
    element = Xml.SubElement(root, "testsuite", attributes)
    properties = Xml.SubElement(element, "properties")
    for name, value in (("case", suite.case), ("version", version())):
        Xml.SubElement(properties, "property", {"name": name, "value": printable(value)})
    for owner, found in cases:
        case = Xml.SubElement(element, "testcase", {"classname": printable(owner), "name": found.name})
        if found.result is Result.FAIL:
            message = {"message": printable(found.message), "type": found.name}
            failure = Xml.SubElement(case, "failure", message)
            failure.text = printable("\n".join(found.details))
        elif found.result is Result.SKIP:
            Xml.SubElement(case, "skipped").text = printable(found.message)
    if suite.notes or suite.log:
        Xml.SubElement(element, "system-out").text = printable("\n".join([*suite.notes, *suite.log]))
    Xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def write_junit(path: Path, suite: Suite) -> None:
    """Write the XML to ``path``: whole or not at all, but for a device or a pipe.

    :raises InvalidCase: it cannot be written
    """
    text, target = junit(suite), path.resolve()
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        if target.exists() and not target.is_file():
            target.write_text(text, encoding="utf-8")
            return
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InvalidCase(f"{path}: {error.strerror}") from None


def _cases(group: Group, owner: str) -> Iterator[tuple[str, Property]]:
    # Each property with what it is a property of.
    for member in group.members:
        if isinstance(member, Group):
            yield from _cases(member, f"{owner} {member.name}")
        else:
            yield owner, member
