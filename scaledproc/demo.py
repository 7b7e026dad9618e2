"""A demo laid out as the MIMIC-III Waveform Database; seeded integers only, so every machine writes the same bytes.

As there, only the master headers have dates: those of segments and numerics have the time of day.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Rng = np.random.Generator
    Specs = Mapping[str, tuple[float, int, str]]  # gain, baseline, units of each signal

FS = 125
MISSING = {"80": -128, "16": -32768}  # by signal format
LEAD_OFF = ("3100112_0003", "ABP")  # this signal has no valid sample at all
OLD, NEW = "HR,ABP SYS,SpO2,RESP", "HR,ABPSys,%SpO2,RESP"  # monitors do not agree on the names
RECORDS = {  # start, heart rate, waveforms, seconds of each segment (~ is a gap), numerics, seconds between numerics
    "3000003": ("2130-05-14T19:46:22.546", 74, "II,V,AVR,ABP,PLETH,RESP", "45 ~30 600 20 ~90 120 15 30", OLD, 60),
    "3000105": ("2171-01-03T04:10:57.018", 91, "II,AVR,RESP", "15 25 ~60 40 15 60 ~15 20 30", NEW, 1),
    "3100011": ("2154-09-30T23:58:05.132", 66, "II,V,PLETH,RESP", "300 ~120 15 35 90 ~40 25 50 15", NEW, 60),
    "3100112": ("2188-12-31T23:57:41.907", 102, "II,V,ABP", "20 15 ~300 75 30 45 15", "HR,ABPSys,SpO2", 1),
    "3200058": ("2142-02-28T08:01:12.261", 58, "II,V,AVR,ABP,PLETH", "60 ~10 480 20 15 ~25 150 40 15", OLD, 1),
    "3200207": ("2163-07-19T13:33:20.774", 83, "V,PLETH", "30 20 ~75 15 240 60 15 20", "HR,%SpO2,RESP", 60),
}
NUMERICS = {  # gain, baseline, units, centre, swing
    "HR": (10, 0, "bpm", 0, 0),  # the waveforms' own heart rate
    "ABP SYS": (8, 0, "mmHg", 118, 20),
    "ABPSys": (10, 0, "mmHg", 124, 15),
    "SpO2": (10, 0, "%", 96, 3),
    "%SpO2": (1, 0, "%", 95, 4),
    "RESP": (10, 0, "pm", 17, 5),
}
P_QRS_T = ((0, 0), (20, 0), (32, 10), (44, 0), (54, -8), (60, 80), (67, -18), (74, 0), (125, 22), (148, 0), (256, 0))
WAVES = {  # gain, baseline, units, beats per cycle, and one cycle: stored values at 0 to 256, straight lines between
    "II": (86, 0, "mV", 1, P_QRS_T),
    "V": (95, 0, "mV", 1, ((0, 0), (52, 0), (58, 35), (66, -70), (76, 0), (128, 30), (150, 0), (256, 0))),
    "AVR": (86, 0, "mV", 1, tuple((at, -value // 2) for at, value in P_QRS_T)),
    "ABP": (1.25, -100, "mmHg", 1, ((0, -6), (80, -8), (112, 50), (150, 20), (158, 26), (256, -6))),
    "PLETH": (255, -128, "NU", 1, ((0, -35), (95, -50), (140, 60), (190, 5), (205, 12), (256, -35))),
    "RESP": (72, -64, "Ohm", 5, ((0, -20), (100, 45), (130, 40), (256, -20))),
}


def write_demo(folder: Path) -> Path:
    """Write the demo dataset, unless it is there already.

    Parameters
    ----------
    folder : Path
        Where the dataset goes. It appears at once and complete; if it exists, it is left as it is.

    Returns
    -------
    Path
        The folder given.
    """
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        built = Path(scratch, "demo")  # one level down: the scratch folder itself is private to its owner
        for name, plan in RECORDS.items():
            _write_record(built / name[:2] / name, *plan)
        for group in {name[:2] for name in RECORDS}:
            _write_lines(built / group / "RECORDS", [f"{name}/" for name in RECORDS if name.startswith(group)])
        _write_lines(built / "RECORDS", [f"{name[:2]}/{name}/" for name in RECORDS])
        for header in built.rglob("*.hea"):  # wfdb ends lines as the platform does
            _write_lines(header, header.read_text(encoding="utf-8").splitlines())
        try:
            built.rename(folder)
        except OSError:
            if not folder.exists():  # else another process was faster, with the same bytes
                raise
    return folder


def _write_record(folder: Path, begin: str, bpm: int, waves: str, plan: str, numerics: str, period: int) -> None:
    import numpy as np

    folder.mkdir(parents=True)
    name, start, rng = folder.name, datetime.fromisoformat(begin), np.random.default_rng(int(folder.name))
    lengths = [int(part.strip("~")) for part in plan.split()]
    rate = bpm + _wander(rng, sum(lengths), 8)  # beats per minute, second by second
    signals, segments, at, number = waves.split(","), [f"{name}_layout"], 0, 0
    for part, seconds in zip(plan.split(), lengths, strict=True):
        segments.append("~")
        if not part.startswith("~"):
            number += 1
            segments[-1] = f"{name}_{number:04d}"
            # The first two signals are always on; the others come and go.
            on = {s: WAVES[s][:3] for i, s in enumerate(signals) if i < 2 or (i + number) % 3}
            columns = _waveforms(rng, rate[at : at + seconds], on)
            _write_signals(rng, folder / segments[-1], start + timedelta(seconds=at), FS, "80", on, columns)
        at += seconds

    # By hand: wfdb does not write layouts, and its version 4.3.0 gets the date of a master wrong.
    layout = ["~ 0 {}({})/{} 8 0 0 0 0 ".format(*WAVES[signal]) + signal for signal in signals]
    parts = [f"{segment} {FS * seconds}" for segment, seconds in zip(segments, [0, *lengths], strict=True)]
    time, date = begin[11:], f"{start:%d/%m/%Y}"
    _write_lines(folder / f"{name}_layout.hea", [f"{name}_layout {len(signals)} {FS} 0 {time}", *layout])
    _write_lines(folder / f"{name}.hea", [f"{name}/{len(parts)} {len(signals)} {FS} {FS * at} {time} {date}", *parts])

    specs, columns = {label: NUMERICS[label][:3] for label in numerics.split(",")}, [10 * rate[::period]]
    for gain, _, _, centre, swing in (NUMERICS[label] for label in list(specs)[1:]):
        columns.append(gain * (centre + _wander(rng, len(columns[0]), swing)))
    _write_signals(rng, folder / f"{name}n", start, round(1 / period, 13), "16", specs, columns)


def _waveforms(rng: Rng, rate: Ints, names: Iterable[str]) -> list[Ints]:
    import numpy as np

    phase, columns = (rate.repeat(FS) * 65536 // (60 * FS)).cumsum(), []  # 65536 to a heart beat
    for _, _, _, beats, knots in (WAVES[name] for name in names):
        cycle = [y + (z - y) * (at - a) // (b - a) for (a, y), (b, z) in pairwise(knots) for at in range(a, b)]
        clean = np.array(cycle, dtype=np.int64)[phase // beats // 256 % 256]
        columns.append((clean + _wander(rng, len(phase), 6) + rng.integers(-2, 3, len(phase))).clip(-127, 127))
    return columns


def _wander(rng: Rng, length: int, swing: int) -> Ints:
    walk: Ints = rng.integers(-1, 2, length).cumsum()
    return abs((walk + swing) % (4 * swing) - 2 * swing) - swing  # reflected at plus and minus `swing`


def _write_signals(rng: Rng, path: Path, start: datetime, fs: float, fmt: str, specs: Specs, data: list[Ints]) -> None:
    import numpy as np
    import wfdb

    for name, column in zip(specs, data, strict=True):
        begin, length, kind = (int(rng.integers(n)) for n in (len(column), len(column) // 8 + 1, 4))
        if (path.name, name) == LEAD_OFF:
            column[:] = MISSING[fmt]
        elif kind == 0:
            column[begin : begin + length] = MISSING[fmt]
    gains, baselines, units = map(list, zip(*specs.values(), strict=True))
    samples, stored = np.column_stack(data), {"fmt": [fmt] * len(specs), "adc_gain": gains, "baseline": baselines}
    wfdb.wrsamp(
        path.name, fs, units, list(specs), None, samples, base_time=start.time(), write_dir=path.parent, **stored
    )


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
