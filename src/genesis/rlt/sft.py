"""The teacher's warm-up (RLT's first phase): question and solution in, the source's explanation out."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from genesis.common.errors import UserError
from genesis.common.usage import Usage
from genesis.rlt.pairs import read_pairs
from genesis.rlt.prompts import teacher_prompt
from genesis.rlt.settings import Rlt
from genesis.sft import IGNORE, Row, Sft, sft
from genesis.tags import END_EXPLANATION
from genesis.training import Compute


@dataclass
class RltSft(Sft):
    """Section `rlt_sft`; `start` names a folder or hub model."""

    start: str = "models/chat/model"


def rlt_sft(params: RltSft, rlt: Rlt, compute: Compute, data: Path, out: Path, usage: Usage) -> None:
    """Train on the teacher's families; see `genesis.sft.sft` for what is written.

    Raises:
        UserError: no rows for the teacher, rows without a trace, or a chat template without prefill.
    """
    train = read_pairs(data / "train.jsonl", "teacher", traced=True)
    if not train:
        raise UserError(f"{data / 'train.jsonl'}: no row with part 'teacher'; lower safety_data.student_share")
    val = read_pairs(data / "val.jsonl", traced=True)
    encoder = partial(encode, system=rlt.systems["teacher_system"])
    sft(params, compute, params.start, train, val, out, usage, encoder)


def encode(row: dict, tokenizer, system: str | None) -> Row:
    """The prompt with the solution, then the explanation, its end tag and the end token, which alone are labelled."""
    prompt = teacher_prompt(tokenizer, row["question"], row["solution"], system)
    text = f"{prompt}{row['reasoning_trace']}{END_EXPLANATION}{tokenizer.eos_token}"
    made = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    labels = [
        token if start >= len(prompt) else IGNORE
        for token, (start, _) in zip(made["input_ids"], made["offset_mapping"], strict=True)
    ]
    return {"input_ids": made["input_ids"], "labels": labels}
