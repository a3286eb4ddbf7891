"""Latency profiles: the TOML form, what each CPU draws, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu.errors import InvalidCase
from emu.latency import PROFILES, check_changes, latency_profile
from emu.latency.profile import CpuCosts
from emu.latency.toml_form import OF_MACHINE, PER_CPU, read_profile


def written(folder: Path, text: str) -> str:
    path = folder / "profile.toml"
    path.write_text(text)
    return str(path)


def test_a_later_table_replaces_what_an_earlier_one_says_of_a_cpu(tmp_path: Path) -> None:
    text = '[ns]\nalive = "1ms"\nonline = 7\n[cpus.primary]\nalive = "2.5us"\n[cpus."3,5-6"]\nalive = 1\n'
    costs = latency_profile(written(tmp_path, text)).costs(8, siblings=[1, 6]).values()
    assert [each.alive for each in costs] == [2500, 1_000_000, 2500, 1, 2500, 1, 1, 2500]
    assert {each.online for each in costs} == {7}


def test_what_a_file_leaves_out_costs_nothing(tmp_path: Path) -> None:
    profile = latency_profile(written(tmp_path, "[ns]\ncall = 5\n"))
    assert {key: getattr(profile, key) for key in OF_MACHINE} == dict.fromkeys(OF_MACHINE, 0) | {"call": 5}
    assert profile.costs(2, ())[1] == CpuCosts()


def test_each_cpu_draws_its_own_and_a_seed_draws_all_again(tmp_path: Path) -> None:
    name = written(tmp_path, '[ns]\nalive = "350us..3.5ms"\n')
    drawn = (latency_profile(name + seed).costs(64, ()) for seed in ("", ":0", ":1"))
    first, again, other = (list(costs.values()) for costs in drawn)
    assert first == again != other
    assert len({each.alive for each in first}) > 32
    assert all(350_000 <= each.alive <= 3_500_000 for each in (*first, *other))


def test_a_change_may_be_of_a_role_or_of_some_cpus(tmp_path: Path) -> None:
    name = written(tmp_path, "[ns]\nalive = 5\n")
    costs = latency_profile(f"{name},alive@sibling=1us,alive@2-3=2ns..9ns").costs(5, siblings=[1, 3])
    assert [costs[cpu].alive for cpu in (0, 1, 4)] == [5, 1000, 5]
    assert all(2 <= costs[cpu].alive <= 9 for cpu in (2, 3))


def test_a_change_of_a_cpu_that_there_is_not_is_refused() -> None:
    check_changes("nominal,alive@3=1ms", 4)
    check_changes("nominal,alive@sibling=1ms", 4)
    with pytest.raises(InvalidCase, match="alive@4-9=1ms: there are CPU0..CPU3"):
        check_changes("nominal,alive@3=1ms,alive@4-9=1ms", 4)


def test_a_change_is_of_every_cpu(tmp_path: Path) -> None:
    name = written(tmp_path, '[ns]\nlock = 3\n[cpus.primary]\nalive = "2us"\n')
    profile = latency_profile(f"{name},alive=1ms,lock=0ns")
    assert profile.lock == 0
    assert [each.alive for each in profile.costs(2, siblings=[1]).values()] == [1_000_000, 1_000_000]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = 1", "x: not one of"),
        ("ns = 1", "ns: a table"),
        ("[ns]\nalife = 1", "alife: not one of"),
        ("[ns]\nalive = -1", "0 to"),
        ("[ns]\nalive = true", "ns, or text"),
        ("[ns]\nalive = 1.5", "ns, or text"),
        ('[ns]\nalive = "1 hour"', "a time is a number"),
        ('[ns]\nalive = "0.0001us"', "no whole number"),
        ('[ns]\nalive = "3ms..1ms"', "the smaller one first"),
        ('[ns]\nlock = "1us..2us"', "no CPU draws"),
        ("[cpus.first]\nalive = 1", "primary, sibling"),
        ('[cpus."5-3"]\nalive = 1', "the smaller number first"),
        ('[cpus."99999"]\nalive = 1', "below"),
        ("[cpus.primary]\ncall = 1", "is of the machine"),
        ("[cpus]\nprimary = 1", "cpus.primary: a table"),
        ("seed = -1", "seed"),
        ('summary = "a\\nb"', "one line"),
        ("[source]\nalive = 1", "source.alive: text"),
        ("[ns", "latency="),
        ("a = " + "[" * 4000, "latency="),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused_by_name(tmp_path: Path, text: str, why: str) -> None:
    name = written(tmp_path, text)
    with pytest.raises(InvalidCase, match="latency=") as refused:
        latency_profile(name)
    assert name in str(refused.value)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nominel", "did you mean nominal"),
        ("./none.toml", "No such file"),
        ("zero:1", "draws nothing"),
        ("zero,alive", "KEY=TIME"),
        ("zero,alive=soon", "a time is a number"),
        ("zero,live=1ns", "not one of"),
        ("zero,alive@=1ns", "primary, sibling, or logical numbers"),
        ("zero,alive@3-2=1ns", "the smaller number first"),
        ("zero,lock@2=1ns", "of the machine"),
        ("zero,live@2=1ns", "not one of"),
    ],
)
def test_a_name_that_is_none_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidCase, match="latency=") as refused:
        latency_profile(text)
    assert why in str(refused.value)


@pytest.mark.parametrize("name", [name for name in PROFILES if name not in ("nominal", "zero")])
def test_every_figure_of_a_shipped_profile_has_its_source(name: str) -> None:
    profile = PROFILES[name]
    figures = {key for key in OF_MACHINE if getattr(profile, key)}
    figures |= {key for rule in profile.rules for key, _ in rule.spans}
    assert figures == set(dict(profile.sources))
    assert profile.summary


def test_the_keys_of_the_machine_and_of_cpus_are_apart() -> None:
    assert not set(OF_MACHINE) & set(PER_CPU)
    assert read_profile(Path(__file__).parents[2] / "emu/latency/profiles/kvm-128.toml").name == "kvm-128"
