"""The part of a report on where the time went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from htpy import Node, dd, div, dl, dt, p

from scaledproc._util.text import bytes_text, count_text, ranges_text, seconds_text
from scaledproc.engine.timeline import TIMELINE_OF
from scaledproc.reporting.report.parts import Whole, block, grid, number, part, said, share_text
from scaledproc.reporting.report.pictures import area, axis, bars, ends, number_text, span_bar, time_ticks, wide
from scaledproc.reporting.report.sentence import billed, is_here, staging_of, throughput_text, usd_text, work_of

if TYPE_CHECKING:
    from scaledproc.reporting.report.findings import Findings, ShardRow

SHOWN_SHARDS = 60
SEEN = 0.05
"""Core-seconds of waiting for files from which on they are shown."""
LINE = 14
"""Pixels of a shard's line."""


def times_part(found: Findings) -> Node:
    """The part."""
    return part(
        "time",
        "Where the time went",
        _totals(found),
        *_timeline(found),
        *_shards(found),
        *_slowest(found),
        *_expected(found),
    )


def _totals(found: Findings) -> Node:
    work = work_of(found)
    times = found.timings
    is_any_done = any(shard.seconds is not None for shard in found.shards)
    facts: list[tuple[str, str]] = [("Work of all cores", seconds_text(work))] if is_any_done else []
    if (staging := staging_of(found)) >= SEEN:
        share = share_text(staging / (staging + work))
        facts.append(("Cores waiting for files to be staged", f"{seconds_text(staging)} ({share} of both)"))
    wall, cores = times.get("last_start_seconds"), found.options.get("cores")
    combine = times.get("combine_seconds")
    if isinstance(wall, int | float):
        facts.append(("From the start to the end", seconds_text(wall)))
    if isinstance(combine, int | float):
        facts.append(("Of it, combining", seconds_text(combine)))
    line: Any = times.get("timeline")
    waited = [float(seconds) for _, seconds in line.get("waited", [])] if isinstance(line, dict) else []
    if waited:
        which = f"of the {len(waited):,} that waited" if len(waited) > 1 else "of the only one that waited"
        text = f"{seconds_text(sum(waited) / len(waited))} on average {which}, {seconds_text(max(waited))} at most"
        facts.append(("Waiting for a machine, each shard", text))
    is_one = is_here(found) and times.get("starts", 1) == 1
    if (
        isinstance(wall, int | float)
        and isinstance(cores, int)
        and is_one
        and wall > 0
        and not found.counts.get("reused")
    ):
        idle = max(0.0, cores * wall - work - (combine or 0.0))
        facts.append(
            (
                f"Not at work, of {count_text(cores, 'core')}",
                f"{seconds_text(idle)} ({share_text(idle / (cores * wall))})",
            )
        )
    if pace := throughput_text(found):
        facts.append(("Read by a core at work", pace))
    if found.tasks is not None and found.tasks.bytes_read is not None:
        facts.append(("Read by all tasks", bytes_text(found.tasks.bytes_read)))
    if found.tasks is not None and found.tasks.peak_memory is not None:
        facts.append(("Most memory of a process", bytes_text(found.tasks.peak_memory)))
    if not facts:
        return None
    note = "Not at work is starting up, waiting for data or for the last tasks, and combining on one core."
    text = note if any(name.startswith("Not at work") for name, _ in facts) else ""
    return block("In all", dl(class_="facts")[(div[dt[name], dd[value]] for name, value in facts)], text=text)


def _timeline(found: Findings) -> list[Node]:
    """Cores at work over time, and the shards' stretches, as the driver saw them."""
    line: Any = found.timings.get("timeline")
    if not isinstance(line, dict):
        return []
    width, busy = float(line.get("width", 0)), [float(each) for each in line.get("busy", [])]
    if not width or not busy:
        return []
    cores = found.options.get("cores")
    end = width * len(busy)
    at_once = [each / width for each in busy]
    if isinstance(cores, int) and is_here(found):  # what is heard late would be at work at once with what came then
        at_once = [min(each, float(cores)) for each in at_once]
    waiting = [float(each) / width for each in line.get("staging", [])]
    is_staged = sum(waiting) * width >= SEEN
    both = [one + other for one, other in zip(at_once, waiting, strict=True)] if is_staged else at_once
    top = max([*both, float(cores) if isinstance(cores, int) and is_here(found) else 0.0]) or 1.0
    height = 90
    words = f"Cores at work over {seconds_text(end)}: at most {number_text(max(at_once))}"
    if is_staged:
        words += f"; waiting for files to be staged: at most {number_text(max(waiting))}"
    pale = area(both, top, height, css="area wait") if is_staged else None
    first = wide(
        words,
        height + 18,
        [axis(end, height, time_ticks(end)), pale, area(at_once, top, height)],
        names=[(12, f"{number_text(round(top, 1))} core{'' if round(top, 1) == 1 else 's'}"), (height, "0")],
    )
    note = "By when chunks were told to be done, and how long they took; a start that was interrupted is not in it."
    if is_staged:
        note += " Pale: cores that had nothing to do while files were staged, before the chunks that they waited for."
    return [block("Cores at work", first, text=note), *_lines(found, line, end)]


def _lines(found: Findings, line: Any, end: float) -> list[Node]:
    spans = [(int(shard), float(begin), float(stop)) for shard, begin, stop in line.get("shards", [])]
    is_todo = line.get(TIMELINE_OF) == "todo"
    if len(spans) < (1 if is_todo else 2):
        return []
    chosen = sorted(sorted(spans, key=lambda each: -each[2])[:SHOWN_SHARDS])
    last = max(each[2] for each in spans)
    known = {} if is_todo else {shard.shard: shard for shard in found.shards}
    waits = {int(shard): float(seconds) for shard, seconds in line.get("waited", [])}
    height = LINE * len(chosen)
    drawn: list[Node] = [axis(end, height, time_ticks(end))]
    for at, (shard, begin, stop) in enumerate(chosen):
        words = f"Shard {shard}: {seconds_text(stop - begin)}, from {seconds_text(begin)} to {seconds_text(stop)}"
        if shard in known:
            words += f", {count_text(known[shard].tasks, 'task')}"
            if known[shard].staging >= SEEN:
                words += f", cores waited {seconds_text(known[shard].staging)} for files to be staged"
        if waited := waits.get(shard, 0.0):
            text = f"Shard {shard}: waited {seconds_text(waited)} for a machine"
            queued = max(begin - waited, 0.0)
            drawn.append(span_bar(queued, begin, end, at * LINE + 2, LINE - 4, text, "bar wait"))
        is_last = stop == last
        drawn.append(span_bar(begin, stop, end, at * LINE + 2, LINE - 4, words, "bar late" if is_last else "bar"))
    names = [(at * LINE + 11, str(each[0])) for at, each in enumerate(chosen)]
    text = "From a shard's first chunk to its commit. The one that ended last is marked."
    if any(each[0] in waits for each in chosen):
        text += " Pale: from when it was seen waiting for a machine, as in a queue, to when it was first seen at work."
    if len(chosen) < len(spans):
        text += f" The {len(chosen)} that ended last of {len(spans):,} are shown."
    title = "Shards over time"
    if is_todo:
        title = "What the update did, over time"
        text += " What was to be done was cut into shards of its own, whose numbers are not those below."
    shards = count_text(len(chosen), "shard")
    return [block(title, wide(f"{shards} over time", height + 18, drawn, names=names), text=text)]


def _shards(found: Findings) -> list[Node]:
    shards = found.shards
    if not shards:
        return []
    done = [shard for shard in shards if shard.seconds is not None]
    work = sum(shard.seconds or 0.0 for shard in done)
    size = sum(shard.size for shard in done)
    order = sorted(shards, key=lambda shard: (shard.seconds is not None, -(shard.seconds or 0.0), shard.shard))[
        :SHOWN_SHARDS
    ]
    reused = None if found.tasks is None or not found.counts.get("reused") else found.tasks.reused
    staged = staging_text(done, is_here=is_here(found))
    rows = [
        (
            *_shard(shard, work, size, reused),
            *((number(shard.staging, seconds_text(shard.staging)),) if staged else ()),
        )
        for shard in order
    ]
    text = "Planned is the share of all bytes that the shard has, got its share of the work. "
    text += balance_text(done)
    text += staged
    if len(order) < len(shards):
        text += f" The {len(order)} that took longest of {len(shards):,} are shown."
    rows_are = "Rows" if len(found.tables) < 2 else "Rows of all tables"
    heads = ["Shard", "State", "Tasks", rows_are, "Quarantined", "Bytes", "Work", "Planned", "Got"]
    if staged:
        heads.append("Waiting for files")
    if reused is not None:
        heads.insert(3, "Reused")
        text += f" {reused_text(shards, reused)}"
    return [block("Shards", grid("Shards", heads, rows, numbers=range(2, len(heads))), text=text)]


def staging_text(done: Sequence[ShardRow], *, is_here: bool) -> str:
    """How long cores waited for files to be staged, beside their work; empty where they did not.

    Parameters
    ----------
    done
        The shards that are done.
    is_here
        Whether one machine did all of them; else each was one machine's.
    """
    total = sum(shard.staging for shard in done)
    if total < SEEN:
        return ""
    work = sum(shard.seconds or 0.0 for shard in done)
    text = f" Cores waited {seconds_text(total)} for files to be staged, and worked {seconds_text(work)}"
    if len(done) > 1:
        most = max(done, key=lambda shard: shard.staging)
        text += f"; {'for a shard' if is_here else 'on the machine of a shard'} {seconds_text(total / len(done))} on "
        text += f"average, {seconds_text(most.staging)} at most (shard {most.shard})"
    return f"{text}."


def reused_text(shards: Sequence[ShardRow], reused: Mapping[int, int]) -> str:
    """Which shards an update made, and which have rows of an earlier run.

    Parameters
    ----------
    shards
        The run's.
    reused
        How many tasks of each have rows of an earlier run.
    """
    whole = {shard.shard for shard in shards if reused.get(shard.shard, 0) == shard.tasks}
    made = {shard.shard for shard in shards if not reused.get(shard.shard)} - whole
    mixed = {shard.shard for shard in shards} - whole - made
    kinds = (("made now", made), ("of an earlier run's rows", whole), ("of both", mixed))
    told = [f"{words}: {ranges_text(found)}" for words, found in kinds if found]
    return f"Shards {'; '.join(told)}. Work is what it took to put a shard together."


def balance_text(done: list[ShardRow]) -> str:
    """How evenly the work was spread over the shards, beside how evenly their bytes are."""
    if len(done) < 2:
        return ""
    sizes, times = [shard.size for shard in done], [shard.seconds or 0.0 for shard in done]
    if not sum(sizes) or not sum(times):
        return ""
    planned, got = (max(each) * len(each) / sum(each) for each in (sizes, times))
    return f"Balance (largest over mean; 1 is perfect): planned {planned:.2f}, got {got:.2f}."


def _shard(shard: ShardRow, work: float, size: int, reused: Mapping[int, int] | None) -> tuple[Node | Whole, ...]:
    state: Node = (
        said(shard.state, 20)
        if not shard.detail
        else div[said(shard.state, 20), p(class_="note")[said(shard.detail, 200)]]
    )
    planned = shard.size / size if size and shard.seconds is not None else None
    got = (shard.seconds or 0.0) / work if work and shard.seconds is not None else None
    return (
        f"{shard.shard}",
        state,
        number(shard.tasks),
        *(() if reused is None else (number(reused.get(shard.shard, 0)),)),
        number(shard.rows),
        number(shard.quarantined),
        number(shard.size, bytes_text(shard.size)),
        number(shard.seconds, "" if shard.seconds is None else seconds_text(shard.seconds)),
        number(planned, "" if planned is None else share_text(planned)),
        number(got, "" if got is None else share_text(got)),
    )


def _slowest(found: Findings) -> list[Node]:
    tasks = found.tasks
    if tasks is None or not tasks.slowest:
        return []
    rows = [
        (
            said(each.anchor),
            number(each.shard),
            number(each.seconds, f"{each.seconds:.3f} s" if each.seconds >= 0.001 else _short(each.seconds)),
            number(each.rows),
            number(each.bytes_read, "" if each.bytes_read is None else bytes_text(each.bytes_read)),
            number(each.peak_memory, "" if each.peak_memory is None else bytes_text(each.peak_memory)),
        )
        for each in tasks.slowest
    ]
    first = tasks.slowest[0].seconds
    text = f"{count_text(tasks.count, 'task')} took {_short(tasks.seconds)} together"
    text += f", {tasks.seconds / tasks.count * 1000:,.1f} ms each on average." if tasks.count else "."
    if tasks.seconds:
        text += f" The slowest took {share_text(first / tasks.seconds)} of that."
    spread = None
    if tasks.spread is not None:
        low, high = (_of_log(each) for each in ends(tasks.spread))
        spread = div(class_="spread")[
            bars(tasks.spread, _of_log),
            p(class_="note")[f"All tasks by their time, from {low} to {high} (logarithmic)."],
        ]
    heads = ("Task", "Shard", "Time", "Rows", "Read", "Memory")
    return [block("Slowest tasks", spread, grid("Slowest tasks", heads, rows, numbers=range(1, 6)), text=text)]


def _of_log(log: float) -> str:
    return _short(10**log)


def _short(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else seconds_text(seconds)


_EXPECTED_NOTE = (
    "What machines cost is compared with what their billed time comes to; what the rest comes to, the service tells "
    "nobody but the account's bill."
)


def _time_of(found: Findings) -> str:
    """What the time of the run's end is of."""
    is_later = found.timings.get("starts", 1) != 1
    return "Time, of the last start alone" if is_later else "Time"


def _scratch(found: Findings) -> str:
    """Where machines staged and made their files, and how large that was, where the backend left it in run.json."""
    told: Any = found.backend.get("scratch")
    if not isinstance(told, dict) or not isinstance(told.get("total_bytes"), int):
        return ""
    free = told.get("free_bytes")
    rest = f", {bytes_text(free)} of it free when its job began" if isinstance(free, int) else ""
    return f" The smallest scratch space: {told.get('folder', '')}, {bytes_text(told['total_bytes'])}{rest}."


def _expected(found: Findings) -> list[Node]:
    """What the backend expected beside what it took, where it left both in run.json."""
    expected: Any = found.backend.get("expected")
    bill = billed(found)
    rows: list[tuple[Node | Whole, ...]] = []
    if isinstance(expected, dict):
        work = sum(shard.seconds or 0.0 for shard in found.shards)
        kinds: tuple[tuple[str, str, Any], ...] = (
            (_time_of(found), "seconds", found.timings.get("last_start_seconds")),
            # Of an update the earlier run's work is in it, and what was expected is of what was to be done.
            ("Work of all cores", "work_seconds", None if found.counts.get("reused") else work or None),
            ("Cost of the machines", "machines_usd", bill.get("usd")),
            ("Cost with volumes, requests and network", "usd", None),
        )
        for name, key, got in kinds:
            guess = expected.get(key)
            if isinstance(guess, int | float):
                as_text = usd_text if key.endswith("usd") else seconds_text
                end = number(got, as_text(got)) if isinstance(got, int | float) else number(None)
                rows.append((name, number(guess, as_text(guess)), end))
    parts: list[Node] = []
    if rows:
        parts.append(
            block(
                "Expected and got",
                grid("Expected and got", ("", "Expected", "Got"), rows, numbers=[1, 2], is_live=False),
                text=_EXPECTED_NOTE if "usd" in expected else "What jobs wait in the queue is in what was got alone.",
            )
        )
    seconds = bill.get("instance_seconds")
    if isinstance(seconds, dict):
        machines = [(said(str(name)), number(float(each), seconds_text(float(each)))) for name, each in seconds.items()]
        text = f"{count_text(int(bill.get('jobs', 0)), 'job')}, as billed time says.{_scratch(found)}"
        parts.append(
            block("Machines", grid("Machines", ("Type", "Time"), machines, numbers=[1], is_live=False), text=text)
        )
    return parts
