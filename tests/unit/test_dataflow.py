"""Dependencies of a stored value on a loaded one, along the registers of the code between them."""

from __future__ import annotations

import pytest
from bare_pe import CODE, assemble

from emu.arch.dataflow import DataFlow

LOAD = "ldr x1, [x0]\n"


def flow_of(text: str) -> DataFlow:
    """The data flow of a program at CODE."""
    code = assemble(text, CODE)
    words = {CODE + at: int.from_bytes(code[at : at + 4], "little") for at in range(0, len(code), 4)}
    return DataFlow(words.get)


def last_depends_on_first(text: str) -> bool:
    """Whether the last instruction stores what the first one loads; nothing else accesses memory."""
    return flow_of(text).depends([CODE, CODE + 4 * (len(assemble(text, CODE)) // 4 - 1)])


@pytest.mark.parametrize(
    "between",
    [
        "",
        "add x1, x1, #3\n",
        "mov x2, x1\nlsl x2, x2, #4\nmov x1, x2\n",
        "orr w1, w1, w3\n",
        "bfi x1, x5, #8, #4\n",
        "movk x1, #7\n",
        "cmp x1, #4\ncsel x1, x3, x4, eq\n",  # through the flags
        "cbz x1, out\nadd x1, x1, #1\nout: nop\n",
        "cbz x1, out\nmov x1, #1\nout: nop\n",  # on one path
        "mov x3, #4\nagain: sub x3, x3, #1\ncbnz x3, again\n",
        "bl there\nthere: nop\n",
    ],
)
def test_a_value_that_comes_to_the_stored_register_is_followed(between: str) -> None:
    assert last_depends_on_first(f"{LOAD}{between}str x1, [x0]")


@pytest.mark.parametrize(
    "between",
    [
        "mov x1, #1\n",
        "mov x1, xzr\n",
        "mov x2, x1\nmov x1, x3\n",
        "mrs x1, mpidr_el1\n",
        "add x2, x1, #1\nmov x1, #4\n",
        "cmp x1, #1\nb.ne out\nout: mov x1, #1\n",  # a control dependency
        "cbz x1, out\nmov x1, #1\nb end\nout: mov x1, #2\nend: nop\n",
    ],
)
def test_a_value_that_does_not_is_not(between: str) -> None:
    assert not last_depends_on_first(f"{LOAD}{between}str x1, [x0]")


def test_an_address_is_no_data() -> None:
    assert not last_depends_on_first("ldr x0, [x0]\nstr x1, [x0]")


def test_the_second_register_of_a_pair_is_data_too() -> None:
    assert last_depends_on_first("ldp x1, x2, [x0]\nstp x3, x2, [x0]")
    assert not last_depends_on_first("ldp x1, x2, [x0]\nstp x3, x4, [x0]")


def test_vectors_are_followed() -> None:
    assert last_depends_on_first("ldr q1, [x0]\nstr q1, [x0]")
    assert not last_depends_on_first("ldr q1, [x0]\nstr x1, [x0]")


def test_a_write_back_register_is_no_loaded_value() -> None:
    assert not last_depends_on_first("ldr x1, [x2], #8\nstr x2, [x0]")


def test_another_load_in_between_takes_the_register() -> None:
    text = f"{LOAD}ldr x1, [x3]\nstr x1, [x0]"
    assert not flow_of(text).depends([CODE, CODE + 4, CODE + 8])
    other = f"{LOAD}ldr x2, [x3]\nstr x1, [x0]"
    assert flow_of(other).depends([CODE, CODE + 4, CODE + 8])


def test_the_value_survives_what_is_not_known() -> None:
    """Behind an indirect branch it may still be there."""
    flow = flow_of(f"{LOAD}br x5\nnop\nstr x1, [x0]")
    assert flow.depends([CODE, CODE + 12])
