"""``emu replay``: take a recorded schedule again."""

from __future__ import annotations

import json
from pathlib import Path

import click

from emu.case import Case
from emu.cli.options import known_race_option
from emu.cli.outputs import Command, Output, write_text
from emu.designs import DESIGNS, check_exists
from emu.errors import InvalidCase
from emu.explore.confirm import confirm, shown_by
from emu.explore.explorer import explore_case
from emu.host.effects import WHOLE
from emu.report.exploring import replay_json
from emu.report.sequence import page
from emu.report.story import tell_story
from emu.report.words import outcome_words
from emu.schedulers.replay import parse_picks


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise InvalidCase(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise InvalidCase(f"{path}: {error.strerror}") from None


@click.command("replay", cls=Command)
@click.argument("case")
@known_race_option
@click.option("--html", type=Output(), metavar="FILE", help="Draw the first finding.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
def command(case: str, known_race: tuple[str, ...], html: Path | None, as_object: bool) -> int:
    """Run the schedule of CASE again, a line that `emu explore` printed, or a file that holds one.

    Tells the story of everything that it shows. A case without a schedule is for emu boot --case; at depth
    whole each case is a schedule.
    """
    path = Path(case)
    text = _read(path) if " " not in case and path.is_file() else case
    parsed = Case.parse(text.removeprefix("case: "))
    if parsed.subject not in DESIGNS:
        check_exists(parsed.subject)
    if parsed.depth == WHOLE:
        from emu.cli.whole import Races, replay_whole

        if html is not None:
            raise InvalidCase(f"--html: not at depth {WHOLE}, where a schedule is no list of operations")
        return replay_whole(parsed, Races(False, known_race), as_object=as_object)
    if known_race:
        raise InvalidCase(f"--known-race: --depth {WHOLE} alone has that")
    name, _, rest = parsed.scheduler.partition(":")
    if name != "replay":
        raise InvalidCase(f"scheduler={parsed.scheduler}: no recorded schedule; emu boot --case runs it")
    try:
        picks = tuple(parse_picks(rest))
    except ValueError as error:
        raise InvalidCase(f"scheduler={parsed.scheduler}: {error}") from None
    explorer, boot = explore_case(parsed)
    boot.case = parsed
    done, found = shown_by(explorer, parsed, picks)
    outcomes = [local.outcome for local in done.states[-1].locals]
    stories = [tell_story(boot, confirm(explorer, each)) for each in found]
    if html is not None and stories:
        write_text(html, page(stories[0]))
    if as_object:
        click.echo(json.dumps(replay_json(found, outcomes, parsed.text())))
        return int(bool(found))
    for story in stories:
        for line in story.lines():
            click.echo(line)
        click.echo()
    for cpu, outcome in enumerate(outcomes):
        click.echo(f"CPU{cpu}: {outcome_words(outcome)}")
    click.echo(f"{'fail' if stories else 'pass'}: {len(done.path)} picks, {len(stories)} findings")
    return int(bool(stories))
