"""`emu fuzz`: what is found is kept, whatever ends it; and it does not depend on who does the work."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
from programs import run_emu

from emu.fuzz.campaign import Campaign, CampaignSettings
from emu.fuzz.spec import load_spec, make_spec, packed
from emu.fuzz.store import FILE, CampaignStore
from emu.fuzz.unit import Unit, opening, run_unit
from emu.fuzz.workers import run_units
from emu.lookup.case import LookupCase
from emu.subject.fragment import asm_dir

_CONTRACT = """
[lookup]
entry = "find"
found = "found"
missing = "missing"
index = "x19"
may_change = ["x0", "x1", "x3"]
instructions_max = "8*NR_CPUS + 8"
{model}
[defines]
NR_CPUS = {{ default = 3, sweep = [{sizes}] }}

[[table]]
symbol = "__cpu_logical_map"
unused = "INVALID_HWID"
"""
# A second bug, which no small question shows: as if Aff3 were 7 bits wide.
_RARE = ("and     x0, x0, x1", "and     x0, x0, x1\n        bic     x0, x0, #1 << 39")
_OFF_BY_ONE = ("#NR_CPUS\n", "#NR_CPUS - 1\n")


def plant(folder: Path, *bugs: tuple[str, str], sizes: str = "1, 2, 3", model: str = "") -> Path:
    """A copy of the v3 look-up with these changes, and its contract beside it."""
    text = (asm_dir() / "lookup/v3.S").read_text()
    for old, new in bugs:
        assert old in text
        text = text.replace(old, new)
    path = folder / "planted.S"
    path.write_text(text + "        b       .\n__secondary_too_slow: b .\n")
    (folder / "planted.toml").write_text(_CONTRACT.format(sizes=sizes, model=model))
    return path


def emu_fuzz(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    if "1" in arguments and arguments[arguments.index("1") - 1] == "-j":  # its worker is the command itself
        return run_emu("fuzz", *arguments, cwd=cwd)
    command = [sys.executable, "-m", "emu", "fuzz", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "emu", "fuzz", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def read(folder: Path, query: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(folder / FILE)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def dump(folder: Path) -> list[str]:
    """Everything in a database but where it lies."""
    db = sqlite3.connect(folder / FILE)
    lines = list(db.iterdump())
    db.close()
    return lines


def units(folder: Path) -> list[int]:
    return [int(str(number)) for (number,) in read(folder, "select number from unit order by number")]


def wait_for_units(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Until so many units are committed."""
    while process.poll() is None:
        if (folder / FILE).exists():
            try:
                if len(units(folder)) >= count:
                    return
            except sqlite3.OperationalError:  # it is just being made
                pass
        time.sleep(0.02)
    raise AssertionError(process.communicate())


# -- one that finds something -----------------------------------------------------------------------


def test_a_planted_bug_is_found_and_told(tmp_path: Path) -> None:
    subject = plant(tmp_path, _OFF_BY_ONE)
    done = emu_fuzz(subject, "--dir", tmp_path / "c", "-j", "1", "--cases", "3000", "--unit-cases", "1000")
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "unit 2: finding (answer): finds nothing; CPU 1 is in the map"
    assert f"  case: {subject} nr-cpus=2 map=-,0x0 mpidr=0x80000000" in lines
    assert lines[-1].startswith(f"fail: {subject}, ")
    assert units(tmp_path / "c") == list(range(15))
    again = run_emu("lookup", "--case", lines[-3].removeprefix("  case: "))
    assert again.returncode == 1
    assert "finding (answer): finds nothing; CPU 1 is in the map" in again.stdout


def test_one_that_finds_nothing_says_pass(tmp_path: Path) -> None:
    arguments = (
        plant(tmp_path),
        "--dir",
        tmp_path / "c",
        "-j",
        "1",
        "--cases",
        "2000",
        "--unit-cases",
        "1000",
    )
    done = emu_fuzz(*arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert (report["verdict"], report["findings"], report["counters"]["units"]) == ("pass", [], 14)
    assert report["counters"]["edges"] > 10


def test_json_has_what_lookup_has_and_counts(tmp_path: Path) -> None:
    subject = plant(tmp_path, _OFF_BY_ONE)
    done = emu_fuzz(subject, "--dir", tmp_path / "c", "-j", "1", "--cases", "0", "--json")
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["property"], finding["nr_cpus"], finding["logical_map"]) == ("answer", 2, [None, 0])
    assert finding["first_unit"] == 2
    assert finding["count"] > 10


def test_a_terminal_shows_how_it_goes(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    arguments = ("--dir", str(tmp_path / "c"), "-j", "1", "--cases", "2000", "--unit-cases", "500")
    command = [sys.executable, "-m", "emu", "fuzz", str(plant(tmp_path, _OFF_BY_ONE)), *arguments]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    shown = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        try:
            while data := os.read(ours, 4096):
                shown.append(data)
        except OSError:  # how Linux says that the other side is closed
            pass
        assert process.stdout is not None
        out = process.stdout.read().decode()
    os.close(ours)
    assert process.returncode == 1
    assert re.search(rb"\d cases/s, \d+ units, [\d,]+ cases, \d+ edges, 1 finding", b"".join(shown))
    assert out.startswith("unit 2: finding (answer): ")
    assert "cases/s, " not in out


def test_a_time_ends_it(tmp_path: Path) -> None:
    options = ("-j", "2", "--unit-cases", "500")
    done = emu_fuzz(plant(tmp_path), "--dir", tmp_path / "c", *options, "--for", "1")
    assert (done.returncode, done.stderr) == (0, "")
    numbers = units(tmp_path / "c")
    assert numbers == list(range(len(numbers)))
    assert emu_fuzz("--dir", tmp_path / "c", *options, "--for", "0").returncode == 0
    assert units(tmp_path / "c") == numbers


# -- the same whichever process works ------------------------------------------------------------------


@pytest.mark.parametrize("bugs", [(_OFF_BY_ONE, _RARE), (_RARE,)])
def test_one_worker_and_two_give_the_same_database(tmp_path: Path, bugs: tuple[tuple[str, str], ...]) -> None:
    """With a generation so short that what was found comes back as mutations."""
    subject = plant(tmp_path, *bugs, sizes="2, 3, 16")
    options = ("--cases", "12000", "--unit-cases", "500", "--generation", "4", "--seed", "7")
    for jobs in ("1", "2"):
        assert emu_fuzz(subject, "--dir", tmp_path / jobs, "-j", jobs, *options).returncode == 1
    assert dump(tmp_path / "1") == dump(tmp_path / "2")
    assert len(units(tmp_path / "1")) == 24 + len(opening([(2, ()), (3, ()), (16, ())]))


def test_in_parts_or_at_once_gives_the_same_database(tmp_path: Path) -> None:
    subject = plant(tmp_path, _RARE, sizes="2, 16")
    options = ("-j", "2", "--unit-cases", "500", "--generation", "2")
    assert emu_fuzz(subject, "--dir", tmp_path / "once", *options, "--cases", "6000").returncode == 1
    assert emu_fuzz(subject, "--dir", tmp_path / "parts", *options, "--cases", "2000").returncode == 1
    for _ in range(2):
        assert emu_fuzz("--dir", tmp_path / "parts", "-j", "1", "--cases", "2000").returncode == 1
    assert dump(tmp_path / "once") == dump(tmp_path / "parts")


def test_another_seed_asks_other_questions(tmp_path: Path) -> None:
    spec, under_test = make_spec(str(plant(tmp_path, _RARE, sizes="16")))
    unit = Unit(9, "random", seed=1, cases=3000)
    first = run_unit(under_test, spec.points, unit)
    assert run_unit(under_test, spec.points, unit) == first
    assert run_unit(under_test, spec.points, Unit(9, "random", seed=2, cases=3000)) != first
    assert run_unit(under_test, spec.points, Unit(8, "random", seed=1, cases=3000)) != first


def test_a_unit_does_not_depend_on_what_its_worker_did_before(tmp_path: Path) -> None:
    spec, _ = make_spec(str(plant(tmp_path, _RARE, _OFF_BY_ONE, sizes="2, 16")))
    random = [Unit(20 + number, "random", seed=5, cases=700) for number in range(4)]
    wanted = {unit.number: run_unit(load_spec(spec), spec.points, unit) for unit in random}
    for jobs in (1, 2):
        results = list(run_units(spec, [*opening(spec.points), *reversed(random)], jobs))
        assert {r.number: r for r in results if r.number >= 20} == wanted
        assert len(results) == len(opening(spec.points)) + len(random)


# -- snapshots --------------------------------------------------------------------------------------


def test_a_unit_waits_for_the_generation_before_the_last(tmp_path: Path) -> None:
    spec, under_test = make_spec(str(plant(tmp_path)))
    store = CampaignStore(tmp_path)
    settings = CampaignSettings(seed=1, unit_cases=10, generation=3)
    campaign = Campaign(store, spec, settings)
    known = campaign.unit(5)
    assert known is not None
    assert not known.snapshot.edges
    assert campaign.unit(6) is None
    for number in (2, 1):
        unit = campaign.unit(number)
        assert unit is not None
        store.add(run_unit(under_test, spec.points, unit), LookupCase.parse("x nr-cpus=1 mpidr=0"))
    assert Campaign(store, spec, settings).unit(6) is None
    unit = campaign.unit(0)
    assert unit is not None
    store.add(run_unit(under_test, spec.points, unit), LookupCase.parse("x nr-cpus=1 mpidr=0"))
    later = Campaign(store, spec, settings).unit(6)
    assert later is not None
    assert later.snapshot.edges
    assert later.snapshot.corpus


# -- whatever ends it -------------------------------------------------------------------------------


def test_ten_kills_lose_nothing_that_was_committed(tmp_path: Path) -> None:
    """SIGKILL at moments that a seed chooses; then it ends by itself, as if there had been none."""
    subject = plant(tmp_path, _OFF_BY_ONE, _RARE, sizes="2, 3, 16")
    folder = tmp_path / "c"
    options = ("-j", "2", "--unit-cases", "500", "--generation", "4")
    rng, before = Random(20), set[tuple[object, ...]]()
    done: list[int] = []
    for _ in range(10):
        process = start(*((subject,) if not done else ()), "--dir", folder, *options)
        wait_for_units(folder, len(done) + rng.randint(0 if done else 1, 6), process)
        time.sleep(rng.random() / 20)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert read(folder, "pragma integrity_check") == [("ok",)]
        assert set(units(folder)) >= set(done)
        done = units(folder)
        assert len(set(range(done[-1] + 1)) - set(done)) <= 2, "no more is out than there are workers"
        found = set(read(folder, "select property, pattern, place from finding"))
        assert found >= before
        before = found
        for (text,) in read(folder, 'select "case" from corpus'):
            LookupCase.parse(str(text))
    assert before
    assert emu_fuzz("--dir", folder, "-j", "2", "--cases", "500").returncode == 1
    count = len(units(folder))
    assert units(folder) == list(range(count))
    random = (count - len(opening([(2, ()), (3, ()), (16, ())]))) * 500
    assert emu_fuzz(subject, "--dir", tmp_path / "once", *options, "--cases", str(random)).returncode == 1
    assert dump(folder) == dump(tmp_path / "once")


@pytest.mark.parametrize("workers", [("-j", "2"), ("--cluster", "local:1")])
@pytest.mark.parametrize(("bugs", "status"), [((), 0), ((_OFF_BY_ONE,), 1)])
def test_an_interrupt_ends_it_in_good_order(
    tmp_path: Path, bugs: tuple[tuple[str, str], ...], status: int, workers: tuple[str, ...]
) -> None:
    """Ctrl-C goes to every process of the terminal's group."""
    folder = tmp_path / "c"
    process = start(plant(tmp_path, *bugs), "--dir", folder, *workers, "--unit-cases", "500")
    wait_for_units(folder, 9, process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, err) == (status, "")
    assert out.splitlines()[-1].startswith("fail: " if bugs else "pass: ")
    done = units(folder)
    assert done == list(range(len(done)))


def test_two_interrupts_do_not_wait(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    process = start(plant(tmp_path), "--dir", folder, "-j", "1", "--unit-cases", "100000000")
    wait_for_units(folder, len(opening([(1, ()), (2, ()), (3, ())])), process)
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, err.strip()) == (130, "emu: interrupted")
    assert read(folder, "pragma integrity_check") == [("ok",)]


_DEADLY = """
import os
from emu.lookup.models import MODELS, Model

NAME = "deadly"

def expected_many(logical_map, tables, mpidrs):
    if sum(hwid is not None for hwid in logical_map) == 3 and os.getpid() != {parent}:
        {how}
    return MODELS["logical-map"].expected_many(logical_map, tables, mpidrs)

MODEL = Model(expected_many)
"""


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("os.kill(os.getpid(), 9)", "its worker died, 2 times (signal 9)"),
        ("os._exit(5)", "its worker died, 2 times (exit status 5)"),
    ],
)
def test_a_worker_that_dies_is_replaced_and_told(tmp_path: Path, how: str, message: str) -> None:
    """Units of NR_CPUS=3 kill their worker: each is tried twice, the others are done."""
    subject = plant(tmp_path, _OFF_BY_ONE, model='model = "deadly.py"')
    (tmp_path / "deadly.py").write_text(_DEADLY.format(parent=os.getpid(), how=how))
    spec, _ = make_spec(str(subject))
    results = list(run_units(spec, opening(spec.points), 2))
    assert sorted(result.number for result in results) == list(range(12))
    dead = [r for r in results if r.hits and r.hits[0].finding[0] == "worker"]
    assert {(r.number, r.kind) for r in dead} == {(3, "small"), (9, "regression")}
    assert {r.hits[0].message for r in dead} == {message}
    assert any(hit.finding[0] == "answer" for result in results for hit in result.hits)


# -- going on ---------------------------------------------------------------------------------------


def test_what_has_changed_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    subject = plant(tmp_path, _OFF_BY_ONE)
    begin = ("--dir", folder, "-j", "1", "--cases", "0")
    assert emu_fuzz(subject, *begin).returncode == 1
    other = tmp_path / "other.S"
    other.write_text(subject.read_text())
    for arguments, why in (
        (("--seed", "3"), "seed=3: this campaign has 0"),
        (("--unit-cases", "3"), "unit-cases=3: this campaign has 65536"),
        (("v3",), f"subject=v3: this campaign has {subject}"),
        (("--contract", tmp_path / "planted.toml"), "contract="),
    ):
        done = emu_fuzz(*arguments, *begin)
        assert done.returncode == 2
        assert why in done.stderr
        assert done.stderr.count("\n") == 1
    plant(tmp_path)
    done = emu_fuzz(*begin)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--restart" in done.stderr
    # It is right now: the old finding is asked first, and is none.
    done = emu_fuzz("--restart", *begin, "--json")
    assert done.returncode == 0, done.stdout
    assert read(folder, "select kind, cases from unit where number = 0") == [("kept", 1)]
    plant(tmp_path, _OFF_BY_ONE)
    done = emu_fuzz("--restart", *begin, "--json")
    assert [found["first_unit"] for found in json.loads(done.stdout)["findings"]] == [0]


def test_it_goes_on_from_any_folder(tmp_path: Path) -> None:
    plant(tmp_path, _OFF_BY_ONE)
    assert emu_fuzz("planted.S", "--dir", "c", "-j", "1", "--cases", "0", cwd=tmp_path).returncode == 1
    (tmp_path / "elsewhere").mkdir()
    done = emu_fuzz("--dir", "../c", "-j", "1", "--cases", "0", cwd=tmp_path / "elsewhere")
    assert (done.returncode, done.stderr) == (1, "")


def test_two_in_one_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    process = start(plant(tmp_path), "--dir", folder, "-j", "1", "--unit-cases", "500")
    wait_for_units(folder, 1, process)
    done = emu_fuzz("--dir", folder)
    assert (done.returncode, done.stderr) == (
        2,
        f"emu: {folder}: another emu fuzz runs in it; wait for it, or use another --dir\n",
    )
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "no campaign in it; name a SUBJECT"),
        (("no-such.S",), "no-such.S: no such file"),
        (("mainline",), "looks nothing up"),
        (("v3", "--cases", "1", "--for", "1"), "give one of them"),
        (("v3", "-j", "0"), "0 is not in the range"),
        (("v3", "-j", "2", "--cluster", "local:1"), "the cluster has workers of its own"),
        (("v3", "--cluster", "local:0"), "local:N (1 at least)"),
        (("v3", "--cluster", "nonsense://x"), "--cluster nonsense://x: "),
        (("v3", "--cluster", "nowhere"), "or tcp://HOST:PORT"),
    ],
)
def test_bad_usage_is_one_line(tmp_path: Path, arguments: tuple[str, ...], why: str) -> None:
    done = run_emu("fuzz", *arguments, "--dir", "c", cwd=tmp_path)
    assert done.returncode in (2, 125)
    assert why in done.stderr
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)


# -- a cluster --------------------------------------------------------------------------------------


def test_two_workers_of_a_cluster_find_the_planted_bug(tmp_path: Path) -> None:
    """And what they find is what two processes of our own do."""
    subject = plant(tmp_path, _OFF_BY_ONE, sizes="2, 16")
    options = ("--unit-cases", "500", "--generation", "4", "--cases", "4000")
    done = emu_fuzz(subject, "--dir", tmp_path / "c", "--cluster", "local:2", *options)
    assert done.returncode == 1, done.stderr
    assert f"  case: {subject} nr-cpus=2 map=-,0x0 mpidr=0x80000000" in done.stdout.splitlines()
    assert emu_fuzz(subject, "--dir", tmp_path / "p", "-j", "2", *options).returncode == 1
    assert dump(tmp_path / "c") == dump(tmp_path / "p")


def test_a_worker_far_away_needs_none_of_our_files(tmp_path: Path) -> None:
    """Source with an include, contract and model travel with the spec."""
    home = tmp_path / "home"
    home.mkdir()
    subject = plant(home, _OFF_BY_ONE, model='model = "../models/mine.py"')
    text = subject.read_text()
    (home / "head.inc").write_text("        mrs     x0, mpidr_el1\n")
    subject.write_text(text.replace("        mrs     x0, mpidr_el1\n", '#include "head.inc"\n'))
    (tmp_path / "models").mkdir()
    (tmp_path / "models/mine.py").write_text(_DEADLY.format(parent=os.getpid(), how="pass"))
    spec, under_test = make_spec(str(subject))
    wanted = [run_unit(under_test, spec.points, unit) for unit in opening(spec.points)]
    sent = packed(spec, under_test)
    assert [Path(name).name for name, _ in sent.files] == [
        "head.inc",
        "planted.S",
        "planted.toml",
        "mine.py",
    ]
    for path in (*home.iterdir(), tmp_path / "models/mine.py"):
        path.unlink()
    far = load_spec(sent)
    found = [run_unit(far, sent.points, unit) for unit in opening(sent.points)]
    assert [(r.cases, [h.finding for h in r.hits]) for r in found] == [
        (r.cases, [h.finding for h in r.hits]) for r in wanted
    ]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a campaign that has done its opening, and goes on."""
    folder = tmp_path_factory.mktemp("campaign")
    options = ("--dir", folder / "c", "--cases", "64", "--unit-cases", "64", "-j", "1")
    assert emu_fuzz(plant(folder), *options).returncode == 0
    return folder / "c" / FILE


@pytest.mark.parametrize(
    "change",
    [
        "update setting set value = '{' where name = 'files'",
        "update setting set value = '[1]' where name = 'files'",
        "update setting set value = '{\"a\": \"\n\"}' where name = 'files'",
        "delete from setting where name = 'files'",
        "delete from setting where name = 'points'",
        "insert into setting values ('colour', 'red')",
        "update setting set name = 'seeds' where name = 'seed'",
    ],
)
def test_settings_that_are_damaged_end_in_one_line(change: str, campaign: Path, tmp_path: Path) -> None:
    shutil.copy(campaign, tmp_path)
    with sqlite3.connect(tmp_path / FILE) as db:
        assert db.execute(change).rowcount == 1
    db.close()
    done = emu_fuzz("--dir", tmp_path, "--cases", "64", "-j", "1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("emu: ")
    assert len(done.stderr.splitlines()) == 1
    assert "damaged: " in done.stderr
