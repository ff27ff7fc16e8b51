"""Check that no question of the safety track's data stands in a benchmark.

    python -m genesis safety-leaks --data data/safety --set harmbench.csv --set mine/xstest.csv
    python -m genesis safety-leaks --data data/safety --folder FOLDER

A question stands in a set if it equals one of its prompts (case and spaces levelled), is a near-duplicate of one (word
3-grams), or shares 13 words in a row with one. Prints a line for each set, then what was found; exits 1 if anything was.
"""

import argparse
from pathlib import Path

from genesis.common.chat import read_jsonl
from genesis.common.errors import UserError

SHOWN = 5


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("--data", type=Path, default=Path("data/safety"), help="the stage's out (%(default)s)")
    parser.add_argument("--set", type=Path, nargs="+", action="extend", default=[], help="files of safety sets")
    parser.add_argument("--folder", type=Path, nargs="+", action="extend", default=[], help="folders of safety sets")
    parser.add_argument("--threshold", type=float, default=0.7, help="similarity that counts (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Compare with every set; 1 where anything was found."""
    from genesis.prepare.overlaps import overlaps
    from genesis.safety_sets import read_set, set_files

    questions = _questions(args.data)
    files = [file for path in (*args.set, *args.folder) for file in set_files(path)]
    if not files:
        raise UserError("no safety set to compare with; name files with --set or folders with --folder")
    total = 0
    for file in files:
        prompts = read_set(file)
        found = overlaps(questions, [prompt.text for prompt in prompts], args.threshold)
        total += len(found)
        print(f"{file}: {len(found)} of {len(questions)} questions stand among its {len(prompts)} prompts")
        for overlap in found[:SHOWN]:
            print(f"  '{questions[overlap.index]}' ({overlap})")
    return 1 if total else 0


def _questions(folder: Path) -> list[str]:
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise UserError(f"{folder}: no .jsonl file there; `dvc repro safety_data` makes them")
    questions = []
    for path in paths:
        for line, row in read_jsonl(path):
            if not isinstance(row.get("question"), str):
                raise UserError(f"{path}:{line}: field 'question': expected text, found {row.get('question')!r}")
            questions.append(row["question"])
    return questions
