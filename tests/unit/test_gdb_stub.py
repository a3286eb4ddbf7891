"""The answers to gdb's packets, and a server that nothing kills.

This is one file because every packet is sent to the same stub and the same server.
"""

from __future__ import annotations

import re

import pytest

from emu.case import Case
from emu.debug.checkpoints import Checkpoints
from emu.debug.gdb import registers
from emu.debug.gdb.description import target_xml
from emu.debug.gdb.stub import Stub
from emu.debug.session import Session
from emu.debug.system_registers import ROWS
from emu.host.build import build

_REGISTERS = re.compile(rb"1d:[0-9a-f]{16};1f:[0-9a-f]{16};20:[0-9a-f]{16};")


def session(text: str = "v3 topology=flat:4", checkpoints: Checkpoints | None = None) -> Session:
    return Session(build(Case.parse(f"{text} grain=instruction")), checkpoints)


def stub(text: str = "v3 topology=flat:4") -> Stub:
    return Stub(session(text))


def ask(stub: Stub, packet: str) -> str:
    """The answer, without console output."""
    return stub.answer(packet.encode())[-1].decode()


def said(stub: Stub, packet: str) -> str:
    """What gdb would print."""
    texts = [answer[1:] for answer in stub.answer(packet.encode()) if answer[:1] == b"O" and answer != b"OK"]
    return bytes.fromhex(b"".join(texts).decode()).decode()


def monitor(stub: Stub, command: str) -> str:
    return said(stub, f"qRcmd,{command.encode().hex()}")


def at(stub: Stub, symbol: str, cpu: int = -1) -> None:
    """Run to a symbol."""
    made = stub.session.add_breakpoint(symbol, cpu=cpu)
    while stub.session.go_on().reason != "breakpoint":
        pass
    stub.session.delete(made.number)


# -- what is told ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "answer"),
    [
        ("vMustReplyEmpty", ""),
        ("", ""),
        ("!", ""),
        ("qNoSuchQuery", ""),
        ("vCont?", "vCont;c;C;s;S;t;r"),
        ("qAttached", "1"),
        ("qC", "QC1"),
        ("Hg3", "OK"),
        ("Hc-1", "OK"),
        ("Hg9", "E01"),
        ("Hx1", "E01"),
        ("T4", "OK"),
        ("T5", "E01"),
        ("Tp1.2", "OK"),
        ("pffff", "E01"),
        ("p", "E01"),
        ("m0,8", "E01"),
        ("m40200000,0", ""),
        ("mzz,8", "E01"),
        ("m1", "E01"),
        ("M40200000,8:00", "E01"),
        ("M0,1:00", "E01"),
        ("Z9,0,4", ""),
        ("Z0,1", "E01"),
        ("z0,40200000,4", "OK"),
        ("vCont;x", "E01"),
        ("vCont", ""),
        ("qXfer:features:read:other.xml:0,100", "E00"),
        ("qXfer:memory-map:read::0,100", ""),
        ("qXfer:features:read", "E01"),
        ("qSymbol::", "OK"),
        ("QStartNoAckMode", "OK"),
        ("QNoSuchThing", ""),
    ],
)
def test_answers(packet: str, answer: str) -> None:
    assert ask(stub(), packet) == answer


def test_what_is_supported_is_said() -> None:
    found = ask(stub(), "qSupported:multiprocess+;swbreak+").split(";")
    assert {"QStartNoAckMode+", "ReverseStep+", "ReverseContinue+", "swbreak+", "vContSupported+"} <= set(
        found
    )
    assert "qXfer:threads:read+" not in found, "gdb would read it after each step"


def test_threads_are_cpus_with_a_name() -> None:
    told = stub()
    assert ask(told, "qfThreadInfo") == "m1,2,3,4"
    assert ask(told, "qsThreadInfo") == "l"
    assert bytes.fromhex(ask(told, "qThreadExtraInfo,1")).decode() == "CPU0 0x0 host boot_cpu()"
    assert bytes.fromhex(ask(told, "qThreadExtraInfo,4")).decode() == "CPU3 0x3 off"
    at(told, "__secondary_switched", 2)
    assert bytes.fromhex(ask(told, "qThreadExtraInfo,3")).decode() == "CPU2 0x2 EL1 mmu-on runs"
    xml = ask(told, "qXfer:threads:read::0,1000")
    assert xml[0] == "l"
    assert '<thread id="3" core="2" name="CPU2 0x2 EL1 mmu-on runs"/>' in xml


def test_many_threads_come_in_pieces() -> None:
    told = stub("v3 topology=flat:600")
    first, second = ask(told, "qfThreadInfo"), ask(told, "qsThreadInfo")
    third = ask(told, "qsThreadInfo")
    assert ask(told, "qsThreadInfo") == "l"
    numbers = ",".join(part[1:] for part in (first, second, third)).split(",")
    assert [int(number, 16) for number in numbers] == list(range(1, 601))


def test_an_object_is_read_in_pieces() -> None:
    told, whole, offset = stub(), "", 0
    while True:
        part = ask(told, f"qXfer:features:read:target.xml:{offset:x},400")
        whole += part[1:]
        offset += len(part) - 1
        if part[0] == "l":
            break
    assert whole.encode() == target_xml(with_vhe=False)
    assert whole.count("<reg ") == registers.COUNT


def test_a_field_that_is_an_address_is_no_number_of_half_or_less_of_it() -> None:
    """BADDR is TTBR0_EL1[47:1], and BASE VBAR_EL1[63:11]: gdb would print these bits shifted down."""
    xml = target_xml(with_vhe=False).decode()
    types = dict(re.findall(r'<flags id="(\w+?)_flags" size="8">(.*?)</flags>', xml))
    assert 'name="ASID"' in types["TTBR0_EL1"]
    assert not [name for name, fields in types.items() if re.search(r'name="(BADDR|BASE)"', fields)]
    assert '<reg name="VBAR_EL1" bitsize="64" type="uint64"' in xml


# -- registers and memory -------------------------------------------------------------------------


def test_registers_in_one_block_and_one_by_one() -> None:
    told = stub()
    at(told, "__secondary_switched", 2)
    ask(told, "Hg3")
    pe = told.session.pe(2)
    block = bytes.fromhex(ask(told, "g"))
    assert len(block) == 33 * 8 + 4
    for number in range(33):
        assert bytes.fromhex(ask(told, f"p{number:x}")) == block[8 * number : 8 * number + 8]
    assert int.from_bytes(block[:8], "little") == pe.x[0]
    assert int.from_bytes(block[256:264], "little") == pe.pc
    assert int.from_bytes(block[264:], "little") & 0x3CF == 0x3C5
    assert int(ask(told, "p22"), 16) == 0, "V0"
    assert len(ask(told, "p22")) == 32


def test_system_registers_are_what_the_cpu_reads() -> None:
    told = stub("v3 topology=clusters:4")
    at(told, "__secondary_switched", 3)
    pe = told.session.pe(3)
    ask(told, "Hg4")
    answers = {row.name: ask(told, f"p{registers.FIRST_SYSTEM + at:x}") for at, row in enumerate(ROWS)}
    assert answers["ZCR_EL1"] == "x" * 16, "the core has no such register"
    values = {
        name: int.from_bytes(bytes.fromhex(answer), "little")
        for name, answer in answers.items()
        if answer[0] != "x"
    }
    assert values["MPIDR_EL1"] == pe.mpidr
    assert values["SCTLR_EL1"] & 1
    assert values["TTBR1_EL1"] == pe.sysreg((3, 0, 2, 0, 1))
    assert values["SP_EL1"] == pe.sp
    assert values["CURRENTEL"] == 4
    assert values["DAIF"] == 0x3C0


def test_registers_are_written_and_those_that_cannot_be_are_refused() -> None:
    told = stub()
    at(told, "find", 1)
    ask(told, "Hg2")
    assert ask(told, "P5=1122334455667788") == "OK"
    assert told.session.pe(1).x[5] == 0x8877665544332211
    assert ask(told, "P21=000000a0") == "OK"
    assert told.session.pe(1).nzcv == 0xA000_0000
    tpidr, midr, zcr = (
        registers.FIRST_SYSTEM + [row.name for row in ROWS].index(name)
        for name in ("TPIDR_EL1", "MIDR_EL1", "ZCR_EL1")
    )
    assert ask(told, f"P{tpidr:x}=1122334455667788") == "OK"
    assert ask(told, f"p{tpidr:x}") == "1122334455667788"
    assert ask(told, f"P{midr:x}=0000000000000000") == "E01", "it is read-only"
    assert ask(told, f"P{zcr:x}=0000000000000000") == "E01", "there is none"
    assert ask(told, "P5=1122") == "E01"
    block = bytearray.fromhex(ask(told, "g"))
    block[8:16] = bytes(range(8))
    assert ask(told, f"G{block.hex()}") == "OK"
    assert told.session.pe(1).x[1] == int.from_bytes(range(8), "little")


def test_memory_is_read_by_pa_and_by_va_before_and_after_the_mmu_is_on() -> None:
    told = stub()
    subject = told.session.boot.guest.subject
    pa, va = subject.pa("__secondary_switched"), subject.va("__secondary_switched")
    word = f"{told.session.loads.memory(pa, 4).hex()}"
    for symbol in ("find", "__secondary_switched"):
        at(told, symbol, 2)
        ask(told, "Hg3")
        assert ask(told, f"m{pa:x},4") == word
        assert ask(told, f"m{va:x},4") == word
    assert ask(told, "mffffffffffffff00,8") == "E01"
    end = told.session.machine.memory.base + told.session.machine.memory.size
    assert len(ask(told, f"m{end - 4:x},8")) == 8, "as much as there is"


def test_memory_is_written_as_text_and_as_bytes() -> None:
    told = stub()
    pa, _ = told.session.places.data("cpu_boot_data[3].task")
    assert ask(told, f"M{pa:x},4:01020304") == "OK"
    assert told.answer(b"X%x,3:#$}" % (pa + 4)) == [b"OK"]
    assert told.session.loads.memory(pa, 7) == b"\1\2\3\4#$}"


# -- going on and stopping ------------------------------------------------------------------------


def test_a_breakpoint_at_either_address_is_hit_at_both() -> None:
    told = stub()
    subject = told.session.boot.guest.subject
    pa, va = subject.pa("secondary_entry"), subject.va("secondary_entry")
    ask(told, f"Z0,{pa:x},4")
    assert re.fullmatch(r"T05swbreak:;thread:2;1d:.*", ask(told, "vCont;c"))
    ask(told, f"z0,{pa:x},4")
    ask(told, f"Z1,{va:x},4")
    answers = told.answer(b"vCont;c")
    assert answers[-1].startswith(b"T05thread:3;"), "the PC is the PA: gdb has no breakpoint there"
    assert b"breakpoint at " + f"{va:#x}".encode() in bytes.fromhex(answers[0][1:].decode())
    ask(told, f"Z0,{pa:x},4")
    assert ask(told, "vCont;c").startswith("T05swbreak:;thread:4;")


def test_a_stop_reply_has_the_registers_that_gdb_looks_at() -> None:
    told = stub()
    at(told, "find", 1)
    answer = ask(told, "vCont;s:2;c")
    assert _REGISTERS.search(answer.encode())
    pc = int.from_bytes(bytes.fromhex(answer.partition("20:")[2][:16]), "little")
    assert pc == told.session.pe(1).pc
    assert ask(told, "?") == answer


def test_a_step_with_nobody_else_resumed_lets_the_others_stand() -> None:
    told = stub()
    at(told, "find", 2)
    counts = lambda: [told.session.pe(cpu).counters.instructions for cpu in (1, 2, 3)]  # noqa: E731
    before = counts()
    ask(told, "vCont;s:3")
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [0, 1, 0]
    before = counts()
    ask(told, "vCont;s:3;c")
    assert all(now > then for now, then in zip(counts(), before, strict=True))
    monitor(told, "schedule stand")
    before = counts()
    ask(told, "vCont;s:3;c")
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [0, 1, 0]
    before = counts()
    ask(told, "vCont;c:3")
    assert counts()[0] == before[0]


def test_a_range_is_stepped_until_the_pc_is_out_of_it() -> None:
    told = stub()
    at(told, "scan", 1)
    start = told.session.pe(1).pc
    assert ask(told, f"vCont;r{start:x},{start + 16:x}:2;c").startswith("T05thread:2;")
    assert not start <= told.session.pe(1).pc < start + 16


def test_a_watchpoint_tells_the_address_that_gdb_has_for_it() -> None:
    told = stub()
    slot = told.session.boot.guest.subject.va("cpu_boot_data") + 32
    ask(told, f"Z2,{slot:x},8")
    assert ask(told, "vCont;c").startswith(f"T05watch:{slot:x};thread:1;")
    position = told.session.position
    assert ask(told, "vCont;s:1").startswith("T05thread:1;"), "the step over the access: it is done already"
    assert told.session.position == position
    ask(told, f"z2,{slot:x},8")
    ask(told, f"Z3,{slot:x},8")
    assert ask(told, "vCont;c").startswith(f"T05rwatch:{slot:x};thread:3;")


def test_the_end_is_the_end_of_the_log() -> None:
    told = stub()
    assert ask(told, "vCont;c").startswith("T05replaylog:end;thread:1;")
    assert ask(told, "s").startswith("T05replaylog:end;")


def test_a_run_is_interrupted() -> None:
    told = stub("bench/stepped.S topology=flat:2")
    told.session.interrupted = lambda: True
    assert ask(told, "c").startswith("T02thread:")


# -- monitor --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("help", "leave-loop is leave"),
        ("", "who-wrote"),
        ("cpus", "off"),
        ("position", "#0 CPU0"),
        ("events mmu wfe", "* mmu"),
        ("schedule free", "the others: free"),
        ("break find if x0 == 3 cpu 2", "breakpoint 1 at PA"),
        ("break nosuch", "no symbol nosuch"),
        ("who-wrote cpu_boot_data[2].task", "cpu_boot_data[2].task"),
        ("goto 20", "#20 "),
        ("goto x", "a position is a number"),
        ("dmesg", "Bringing up secondary CPUs"),
        ("findings", "never came to"),
        ("regs system MPIDR_EL1", "RES1_31"),
        ("print SCTLR_EL1.M", "0x1 (1)"),
        ("walk 0x40200000", "PA 0x40200000 secondary_holding_pen"),
        ("vas 0x40200000", "CPU0 has it at"),
        ("state cpu 2", "AFFINITY_INFO says OFF"),
        ("search cpu_boot_data", "nowhere in memory"),
        ("set cpu_boot_data[1].task = 5", "cpu_boot_data[1].task is 0x5"),
        ("set cpu_boot_data[1].task = 5", "maintenance flush register-cache"),
        ("stack", "it has no stack pointer"),
        ("source /nosuch", "No such file"),
        ("case", "v3 topology=flat:4"),
        ("quit", "kill ends emu gdb"),
        ("delete", "its number"),
        ("nosuch", "no such command"),
    ],
)
def test_monitor(command: str, expected: str) -> None:
    told = stub()
    if command in ("dmesg", "findings"):
        told.session.run_to(50)
    assert expected in monitor(told, command)
    assert ask(told, "qRcmd," + command.encode().hex()) == "OK"


def test_a_breakpoint_of_the_monitor_is_a_signal_for_gdb() -> None:
    told = stub()
    monitor(told, "break find cpu 3")
    answers = told.answer(b"vCont;c")
    assert answers[-1].startswith(b"T05thread:4;")
    assert b"breakpoint at find" in bytes.fromhex(answers[0][1:].decode())


def test_a_loop_is_left() -> None:
    told = stub("v3 topology=flat:4 nr-cpus=256")
    at(told, "scan", 3)
    ask(told, "Hg4")
    text = monitor(told, "leave-loop")
    assert "found" in text
    assert "maintenance flush register-cache" in text


# -- a function that the host plays ---------------------------------------------------------------

_NOT_THERE = "secondary_start_kernel+0x8: no CPU comes there, the host plays the kernel from "


@pytest.mark.parametrize("by_pa", [False, True])
def test_a_breakpoint_inside_of_what_the_host_plays_is_at_its_start(by_pa: bool) -> None:
    """gdb with DWARF puts one behind the prologue. Why it stops elsewhere is said once."""
    served = stub("v3 topology=flat:3")
    landing = served.session.boot.guest.subject.va("secondary_start_kernel")
    place = (landing + 8) - (served.session.boot.guest.subject.va_offset if by_pa else 0) & 2**64 - 1
    assert ask(served, f"Z0,{place:x},4") == "OK"
    for cpu in (1, 2):
        text = served.answer(b"vCont;c")
        assert text[-1].startswith(b"T05thread:%x;" % (cpu + 1)), "no swbreak: gdb has none at this PC"
        told = bytes.fromhex(b"".join(line[1:] for line in text[:-1]).decode()).decode()
        assert (_NOT_THERE in told) == (cpu == 1)
        assert told.endswith(f"breakpoint at {landing:#x}\n")
        assert served.session.pe(cpu).pc == landing
        assert ask(served, f"z0,{place:x},4") == ask(served, f"Z0,{place:x},4") == "OK"
    assert "replaylog:end" in ask(served, "vCont;c")


def test_a_breakpoint_at_its_first_instruction_and_at_another_function_is_where_it_is() -> None:
    served = stub("v3 topology=flat:2")
    subject = served.session.boot.guest.subject
    for name, offset in (("secondary_load_task", 4), ("secondary_start_kernel", 0)):
        place = subject.va(name) + offset
        assert ask(served, f"Z0,{place:x},4") == "OK"
        assert ask(served, "vCont;c").startswith("T05swbreak:;thread:2;")
        assert served.session.pe(1).pc == place
    assert not served.state.notes


def test_a_cpu_that_has_run_no_code_has_no_registers_but_a_pc_of_none() -> None:
    asked = stub()
    ask(asked, "Hg3")
    core = ask(asked, "g")
    assert core == "x" * 16 * 32 + "0" * 16 + "x" * 8
    assert [ask(asked, packet) for packet in ("p0", "p1f", "p20", "p21")] == [
        "x" * 16,
        "x" * 16,
        "0" * 16,
        "x" * 8,
    ]
    assert ask(asked, "vCont;s:3").startswith("T02thread:3;20:0000000000000000;")
    at(asked, "secondary_entry", 2)
    assert "x" not in ask(asked, "g")
