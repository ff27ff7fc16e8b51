"""metrics/plots: the small CSV files that `dvc plots` draws and compares between commits, one file a line or a picture.

A file is always there; where nothing was measured it has its header alone. Rows with an empty cell are left out, since a
line drawn by DVC would break there.
"""

import csv
import shutil
from pathlib import Path
from typing import Any

# file, stage, item of a part of it, columns beside the step
LINES = (
    ("loss/pretrain.csv", "pretrain", None, ("loss",)),
    ("loss/chat.csv", "chat", None, ("loss",)),
    ("loss/student.csv", "student", None, ("loss",)),
    ("loss/rlt_sft.csv", "rlt_sft", None, ("loss",)),
    ("bpb/pretrain.csv", "pretrain", None, ("bpb",)),
    ("reward/teacher.csv", "rlt_rl", None, ("reward", "r_ss", "r_kl", "format")),
    ("pair/conversation.csv", "waltz_rl", "conversation", ("reward",)),
    ("pair/feedback.csv", "waltz_rl", "feedback", ("reward",)),
)
PARTS = ("new_values", "unseen_frames", "scenarios")
RATES = ("unsafe_rate", "overrefusal_rate", "incoherent_rate")
BARS, ENDS = ("name", "value", "low", "high"), ("", "_low", "_high")

Rows = list[dict[str, Any]]
Numbers = dict[str, float | None]


def write_plots(curves: Rows, agents: Numbers, names: list[str], safety: Numbers, out: Path) -> None:
    """Write every file into the folder `out`, emptied first.

    Args:
        curves: rows of stage, item, step and the curves' columns.
        agents, safety: metrics/agents.json and safety.json.
        names: the agents, in order.
    """
    shutil.rmtree(out, ignore_errors=True)
    for file, stage, item, columns in LINES:
        own = [row for row in curves if row["stage"] == stage and row["item"] == item]
        write_rows(out / file, ("step", *columns), own)
    fleet = [{"agent": row["item"], **row} for row in curves if row["stage"] == "finetune"]
    write_rows(out / "loss/finetune.csv", ("agent", "step", "loss"), fleet)
    for part in PARTS:
        write_rows(out / f"agents/{part}.csv", BARS, [bar(agents, name, f"{name}_{part}") for name in names])
    end = f"_{RATES[0]}"
    models = [key.removesuffix(end) for key in safety if key.endswith(end)]
    for rate in RATES:
        write_rows(out / f"safety/{rate}.csv", BARS, [bar(safety, name, f"{name}_{rate}") for name in models])


def bar(values: Numbers, name: str, key: str) -> dict[str, Any]:
    """A measured value and its interval under a name."""
    return {"name": name, **{column: values.get(key + end) for column, end in zip(BARS[1:], ENDS, strict=True)}}


def write_rows(path: Path, columns: tuple[str, ...], rows: Rows) -> None:
    """The columns of those rows that have them all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for row in rows if None not in [row.get(column) for column in columns])
