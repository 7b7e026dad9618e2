"""Daily means of weather stations: a CSV file for each day, and beside it what the station is called and its scale.

    weather/north/station.json     {"name": "North Pier", "scale": 0.1}
    weather/north/2026-03-01.csv   time,raw
                                   00:00,81

Run it with `scaledproc --extractor examples/stations.py:daily_mean weather OUTPUT`.
"""

import csv
import json

import scaledproc


@scaledproc.extractor(
    schema={"station": "string", "day": "string", "readings": "int64", "mean_c": "float64"},
    anchor="*.csv",
)
def daily_mean(task):
    station = json.loads(task.beside("station.json").read_text())
    with task.path.open(newline="") as file:
        raw = [int(row["raw"]) for row in csv.DictReader(file)]
    return {
        "station": station["name"],
        "day": task.path.stem,
        "readings": len(raw),
        "mean_c": sum(raw) / len(raw) * station["scale"],
    }
