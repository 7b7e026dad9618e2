"""Results as one HTML page that needs nothing else: no script, no network, nothing beside it.

Whatever comes from a dataset, an extractor or the machine is escaped.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any

from measure import Table
from plots import WIDTHS, svg

from scaledproc._util.text import bytes_text, clean_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from results import Results, Section

STYLE = """
:root { color-scheme: light dark; --page: #fff; --panel: #f6f7f9; --ink: #1c2430; --soft: #667080; --grid: #e3e6eb;
  --ours: #0b6fb8; --other: #b8bfca; --third: #c2571a; --fourth: #4d8a3c; --good: #e8f3fb; --line: #d5dae1; }
@media (prefers-color-scheme: dark) { :root { --page: #14181f; --panel: #1c222b; --ink: #e4e8ee; --soft: #98a3b3;
  --grid: #2b333f; --ours: #53aef0; --other: #5c6675; --third: #f09a5e; --fourth: #8ccf79; --good: #14293a;
  --line: #343d4a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif; }
main { max-width: 58rem; margin: 0 auto; padding: 2.2rem 1.2rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.2rem; line-height: 1.35; margin: 0; overflow-wrap: anywhere; }
p { margin: .4rem 0; overflow-wrap: anywhere; }
.soft, figcaption { color: var(--soft); font-size: .92rem; }
section { border-top: 1px solid var(--line); padding-top: 1.6rem; margin-top: 2rem; }
.advice { background: var(--good); border-left: 4px solid var(--ours); border-radius: 6px; padding: 1rem 1.2rem;
  margin: 1.4rem 0; }
.advice strong { display: block; font-size: 1.35rem; font-family: ui-monospace, Menlo, Consolas, monospace; }
nav ol { margin: .3rem 0; padding-left: 1.4rem; } nav li { margin: .15rem 0; }
a { color: var(--ours); }
svg { display: block; max-width: 100%; height: auto; margin: .4rem 0 .8rem; }
svg.narrow { display: none; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; min-width: 60%; }
th, td { text-align: right; padding: .32rem .55rem; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr:hover td { background: var(--panel); }
pre { background: var(--panel); padding: .9rem; border-radius: 6px; overflow-x: auto; font-size: .84rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .92rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 34rem) {
  svg.wide { display: none; } svg.narrow { display: block; }
  main { padding: 1.2rem .9rem 3rem; } h1 { font-size: 1.4rem; } dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .5rem; }
}
@media print { svg.narrow { display: none; } }
"""


def page(results: Results, content: Mapping[str, Any]) -> str:
    """The whole page.

    Parameters
    ----------
    results
        What the session found.
    content
        The same as its JSON, for machine, commit and time.
    """
    machine, commit = content.get("machine_info") or {}, content.get("commit_info") or {}
    when = str(content.get("datetime", ""))[:16].replace("T", " ")
    body = [
        "<h1>scaledproc: what was measured</h1>",
        f"<p>{esc(results.dataset)}</p>",
        f'<p class="soft">{esc(_machine(machine))}; {esc(when)} UTC</p>',
        _advice(results),
        _contents(results.sections),
        *(_section(number, section) for number, section in enumerate(results.sections)),
        _provenance(results, machine, commit),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>scaledproc benchmarks</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(filter(None, body))
        + "\n</main></body></html>\n"
    )


def esc(text: str) -> str:
    """Text from anywhere as text of the page."""
    return escape(clean_text(text))


def _machine(machine: Mapping[str, Any]) -> str:
    cpu = machine.get("cpu") or {}
    brand = cpu.get("brand_raw") or machine.get("processor") or machine.get("machine") or "a machine"
    count = cpu.get("count")
    return f"{brand}{f', {count} cores' if count else ''}, {machine.get('system', '')} {machine.get('machine', '')}"


def _advice(results: Results) -> str:
    found = results.recommendation
    if found is None:
        return ""
    where = (
        f"It is in <code>{esc(str(results.written))}</code>: the next <code>scaledproc</code> in that folder takes it."
        if results.written
        else "Give it to <code>scaledproc</code>, or put it below <code>[run]</code> in <code>scaledproc.toml</code>."
    )
    return (
        '<div class="advice">Recommended chunk size for this data on this machine'
        f"<strong>--chunk {esc(found.chunk)}</strong>"
        f"<p>{esc(found.reason)}.</p><p>{where}</p>"
        + "".join(f'<p class="soft">{esc(text)}</p>' for text in (results.compared, results.noise) if text)
        + "</div>"
    )


def _contents(sections: Sequence[Section]) -> str:
    if len(sections) < 2:
        return ""
    items = "".join(f'<li><a href="#s{n}">{esc(_short(each.title))}</a></li>' for n, each in enumerate(sections))
    return f"<nav><ol>{items}</ol></nav>"


def _short(title: str) -> str:
    return title.partition(", ")[0]


def _section(number: int, section: Section) -> str:
    heading, _, about = section.title.partition(", ")
    parts = [f'<section id="s{number}"><h2>{esc(heading)}</h2>', f'<p class="soft">{esc(about)}</p>' if about else ""]
    if section.plot is not None:
        drawn = "".join(svg(section.plot, size=size, number=number) for size in WIDTHS)
        parts.append(f"<figure style='margin:0'>{drawn}</figure>")
    text = section.text
    if isinstance(text, Table):
        head = "".join(f"<th>{esc(cell)}</th>" for cell in text.header)
        rows = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in text.rows)
        parts.append(f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>')
        parts += [f'<p class="soft">{esc(note)}</p>' for note in text.notes]
    else:
        parts.append(f"<pre>{esc(text)}</pre>")
    return "\n".join([*parts, f'<p class="soft">again: <code>pytest {esc(section.test)}</code></p></section>'])


def _cell(cell: str) -> str:
    """Leading blanks are an indent."""
    indent = len(cell) - len(cell.lstrip(" "))
    style = f' style="padding-left:{indent * 0.5}rem"' if indent else ""
    return f"<td{style}>{esc(cell.strip())}</td>"


def _provenance(results: Results, machine: Mapping[str, Any], commit: Mapping[str, Any]) -> str:
    ours = results.to_json()
    facts = {
        "command": "pytest " + " ".join(ours["command"]),
        "cores": f"{ours['cores']['used']} used of {ours['cores']['machine']}",
        "memory": bytes_text(ours["memory"]),
        "system": f"{machine.get('system', '')} {machine.get('release', '')}",
        "commit": _commit(commit),
        **{f"plan, {name}": plan_id for name, plan_id in results.plan_ids.items()},
        "versions": ", ".join(f"{name} {number}" for name, number in ours["versions"].items()),
    }
    rows = "".join(f"<dt>{esc(name)}</dt><dd>{esc(value)}</dd>" for name, value in facts.items() if value)
    return (
        f"<section><h2>Where it comes from</h2><dl>{rows}</dl>"
        "<p class='soft'>Bars and points are medians. Whiskers reach from the smallest to the largest of all rounds, "
        "which took turns.</p></section>"
    )


def _commit(commit: Mapping[str, Any]) -> str:
    name = str(commit.get("id") or "")
    if not re.fullmatch(r"[0-9a-f]{7,64}", name):
        return ""
    return name[:12] + (" and changes since" if commit.get("dirty") else "")
