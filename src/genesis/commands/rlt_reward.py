"""Score explanations with the RLT reward and every term of it.

    python -m genesis rlt-reward --teacher DIR --student DIR --cases cases.jsonl --out scored.jsonl

A case is {"id", "question", "solution", "completion"} and, optionally, "teacher_system" and "student_system" (by
default those of RLT's own data). The completion is what the teacher wrote after its prefill, the end tag included if it
wrote one. Out come the cases in the same order, with RLT's weights and temperature: `reward`, its terms, and the spans
as token positions [first, last) in each model's whole text. A case that cannot be scored has the reward null and says
why in `error`.
"""

import argparse
from pathlib import Path
from typing import Any

from genesis.common.chat import raise_first, read_jsonl, write_jsonl

REQUIRED = ("question", "solution", "completion")
OPTIONAL = ("teacher_system", "student_system")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("--teacher", required=True, help="teacher: a model folder or hub name")
    parser.add_argument("--student", required=True, help="student: a model folder or hub name")
    parser.add_argument("--cases", type=Path, required=True, help="JSON Lines of cases")
    parser.add_argument("--out", type=Path, required=True, help="JSON Lines of scores")
    parser.add_argument("--batch-tokens", type=int, default=16384, help="padded tokens in one forward (%(default)s)")


def run(args: argparse.Namespace) -> None:
    """Read, score, write; prints how many cases have a reward and its mean."""
    rows = read_cases(args.cases)

    from dataclasses import asdict

    from genesis.models import load_model, load_tokenizer
    from genesis.rlt.cases import Case
    from genesis.rlt.reward import RltReward

    teacher_tokenizer, student_tokenizer = load_tokenizer(args.teacher), load_tokenizer(args.student)
    reward = RltReward(
        load_model(args.teacher, teacher_tokenizer),
        teacher_tokenizer,
        load_model(args.student, student_tokenizer),
        student_tokenizer,
        batch_tokens=args.batch_tokens,
    )
    scored = reward.score([Case(**row) for row in rows])
    write_jsonl(args.out, (asdict(row) for row in scored))
    rewards = [row.reward for row in scored if row.reward is not None]
    mean = f", mean reward {sum(rewards) / len(rewards):.4f}" if rewards else ""
    print(f"{args.out}: {len(rewards)} of {len(scored)} cases have a reward{mean}")


def read_cases(path: Path) -> list[dict[str, Any]]:
    """Read and check the cases.

    Raises:
        UserError: names file, line and field of the first bad case, and the count of all.
    """
    rows, problems = [], []
    for number, row in read_jsonl(path):
        texts = {name: row.get(name) for name in REQUIRED}
        texts |= {name: row[name] for name in OPTIONAL if row.get(name) is not None}
        wrong = [name for name, text in texts.items() if not isinstance(text, str)]
        if "id" not in row:
            wrong.insert(0, "id")
        problems += [f"{path}:{number}: field '{name}': expected text; write it into the case" for name in wrong[:1]]
        rows.append({"id": row.get("id"), **texts})
    raise_first(problems)
    return rows
