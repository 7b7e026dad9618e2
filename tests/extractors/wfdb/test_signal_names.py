"""Canonical signal names."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaledproc.errors import UsageError
from scaledproc.extractors.wfdb.signal_names import SignalNames

BUILT_IN = SignalNames.built_in()


def canonical(kind: str, name: str | None, names: SignalNames = BUILT_IN) -> str | None:
    (found,) = names.canonical(pa.array([kind]), pa.array([name], pa.string())).to_pylist()
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("kind", "spellings", "expected"),
    [
        ("numerics", ["ABPSys", "ABP SYS", "ABP Sys", "abp sys"], "ABP_sys"),
        ("numerics", ["NBP Dias", "NBPd"], "NBP_dias"),
        ("numerics", ["%SpO2", "SpO2", "SPO2"], "SpO2"),
        ("numerics", ["ABP", "ABP MEAN"], "ABP_mean"),
        ("numerics", ["RESP", "Resp", "RR"], "RESP"),
        ("numerics", ["CO", "C.O."], "CO"),
        ("waveform", ["ABP"], "ABP"),
        ("waveform", ["AVR", "aVR", "avr"], "aVR"),
        ("waveform", ["II", "ii", "ECG lead II"], "II"),
        ("waveform", ["PLETH", "Pleth"], "PLETH"),
        ("waveform", ["PLETH L", "PLETHl"], "PLETH_left"),
        ("waveform", ["Resp", "Resp. Imp."], "RESP"),
        # ISO/IEEE 11073-10101, and the names of CHoRUS's conversions.
        ("waveform", ["II", "MDC_ECG_LEAD_II", "MDC_ECG_ELEC_POTL_II", "mdc_ecg_lead_ii"], "II"),
        ("waveform", ["MDC_ECG_LEAD_AVR", "MDC_ECG_LEAD_aVR", "ECG Lead AVR"], "aVR"),
        ("waveform", ["Pleth", "MDC_PULS_OXIM_PLETH", "SPO2 Waveform"], "PLETH"),
        ("waveform", ["MDC_IMPED_TTHOR", "Chest Impedance"], "RESP"),
        ("numerics", ["HR", "MDC_ECG_HEART_RATE"], "HR"),
        ("numerics", ["Pulse (SpO2)", "MDC_PULS_OXIM_PULS_RATE"], "SpO2_pulse"),
        ("numerics", ["NBPs", "MDC_PRESS_CUFF_SYS", "MDC_PRESS_BLD_NONINV_SYS"], "NBP_sys"),
    ],
)
def test_variants_become_one_name(kind: str, spellings: list[str], expected: str) -> None:
    assert {canonical(kind, spelling) for spelling in spellings} == {expected}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("numerics", ["HR", "PULSE", "PlsNBP"]),
        ("numerics", ["PVC Rate per Minute", "PVC Count"]),
        ("numerics", ["SpO2", "SpO2 L", "SpO2 R", "dSpO2", "SpO2 Aperiodic"]),
        ("numerics", ["ABP Sys", "ART Sys", "AOBP Sys", "NBP Sys"]),
        ("waveform", ["PLETH", "PLETH L", "PLETH R", "PLTHPR"]),
        ("waveform", [f"MDC_ECG_LEAD_{lead}" for lead in ("I", "II", "III", "V", "V1", "V2", "MCL", "MCL1", "AVF")]),
        (
            "waveform",
            ["MDC_PRESS_BLD_ART", "MDC_PRESS_BLD_ART_ABP", "MDC_PRESS_BLD_ART_PULM", "MDC_PRESS_BLD_VEN_CENT"],
        ),
        ("numerics", ["MDC_PULS_RATE", "MDC_PULS_OXIM_PULS_RATE", "MDC_PULS_RATE_NON_INV", "MDC_ECG_HEART_RATE"]),
        ("numerics", ["MDC_TTHOR_RESP_RATE", "MDC_CO2_RESP_RATE"]),
        ("waveform", ["ABP", "ART"]),
        ("waveform", ["MCL", "MCL1", "MLII", "II", "V", "V+", "V1"]),
    ],
)
def test_names_that_differ_in_meaning_stay_apart(kind: str, names: list[str]) -> None:
    assert len({canonical(kind, name) for name in names}) == len(names)


def test_unknown_names_stay_as_written() -> None:
    assert canonical("waveform", "  Strange  name ") == "  Strange  name "
    assert canonical("waveform", "ABPSys") == "ABPSys"
    assert canonical("numerics", None) is None


def test_a_table_of_ones_own() -> None:
    names = SignalNames.parse('[waveform]\n"lead two" = ["II"]\n')
    assert canonical("waveform", "ii", names) == "lead two"
    assert canonical("numerics", "ABPSys", names) == "ABPSys"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml", "not TOML"),
        ("[other]\nA = []", "section 'other'"),
        ('[waveform]\nA = "B"', "list of spellings"),
        ('[waveform]\nA = ["x"]\nB = ["X "]', "under A and B"),
    ],
)
def test_tables_that_make_no_sense_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SignalNames.parse(text)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["waveform", "numerics", "other"]),
            st.none() | st.sampled_from(["II", " ii", "abp", "RESP", "hr", "?", ""]),
        ),
        max_size=20,
    ),
    st.integers(1, 5),
)
def test_rows_are_named_as_if_each_were_alone(pairs: list[tuple[str, str | None]], rows: int) -> None:
    kinds, signals = ([pair[place] for pair in pairs] for place in (0, 1))
    parts = range(0, len(pairs), rows)
    found = BUILT_IN.canonical(
        pa.chunked_array([kinds[at : at + rows] for at in parts], pa.string()),
        pa.chunked_array([signals[at : at + rows] for at in parts], pa.string()),
    )
    assert found.to_pylist() == [canonical(*pair) for pair in pairs]
