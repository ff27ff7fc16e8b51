"""The student that explanations are tried on: a question, then thought and solution, of families that rlt_rl never sees."""

from dataclasses import dataclass
from pathlib import Path

from genesis.common.chat import Message
from genesis.common.errors import UserError
from genesis.common.usage import Usage
from genesis.rlt.pairs import read_pairs
from genesis.rlt.prompts import asked
from genesis.rlt.settings import Rlt
from genesis.sft import Sft, sft
from genesis.tags import thought_and_solution
from genesis.training import Compute


@dataclass
class Student(Sft):
    """Section `student`; `start` names a folder or hub model."""

    start: str = "models/chat/model"


def student(params: Student, rlt: Rlt, compute: Compute, data: Path, out: Path, usage: Usage) -> None:
    """Train on the student's families, measure the loss on the validation families; see `genesis.sft.sft` for what is written.

    Raises:
        UserError: no rows for the student, or rows without a reasoning trace.
    """
    system = rlt.systems["student_system"]
    train = [turns(row, system) for row in read_pairs(data / "train.jsonl", "student", traced=True)]
    if not train:
        raise UserError(f"{data / 'train.jsonl'}: no row with part 'student'; raise safety_data.student_share")
    val = [turns(row, system) for row in read_pairs(data / "val.jsonl", traced=True)]
    sft(params, compute, params.start, train, val, out, usage)


def turns(row: dict, system: str | None) -> list[Message]:
    """One pair as the conversation that the student learns from."""
    answer = thought_and_solution(row["reasoning_trace"], row["solution"])
    return [*asked(row["question"], system), {"role": "assistant", "content": answer}]
