"""Pairs from frames and slots: data/seed/agents/A.yaml, written by hand, filled by rule.

A rule has one gold answer and a list of frames; a frame is a prompt with slots. Two held-out parts come from it: known
frames filled with values that training never sees, and frames that training never sees.
"""

import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genesis.common.errors import UserError
from genesis.common.params import expect, read_yaml
from genesis.prepare.quality import fingerprint

_SLOT = re.compile(r"{(\w+)}")
LEAST_FRAMES = 4


@dataclass(frozen=True)
class Pair:
    """A prompt and its gold completion; `part` is train, or the held-out part it belongs to."""

    id: str
    prompt: str
    completion: str
    part: str
    source: str
    task: str = ""


def pair_id(source: str, prompt: str, completion: str) -> str:
    """A name that a pair keeps while other rows come and go: verdicts of a review refer to it."""
    return f"{Path(source).stem.split('.')[0]}-{fingerprint(f'{prompt} {completion}'):016x}"


def seed_pairs(
    path: Path, *, pairs_per_frame: int, test_pairs_per_frame: int, heldout_frames: int, heldout_values: float
) -> list[Pair]:
    """Fill every frame; which frames and values are held out depends on the rule's own task, answer and lists alone.

    Raises:
        UserError: names the file, task, rule and field of what is missing or wrong.
    """
    tasks = expect(read_yaml(path), "tasks", list, str(path))
    least = max(LEAST_FRAMES, heldout_frames + 1)
    pairs: list[Pair] = []
    for number, task in enumerate(tasks):
        where = f"{path}: tasks[{number}]"
        name = expect(task, "name", str, where)
        for index, rule in enumerate(expect(task, "rules", list, where)):
            spot = f"{where}.rules[{index}]"
            answer = expect(rule, "answer", str, spot)
            frames = expect(rule, "frames", list, spot)
            if len(frames) < least:
                raise UserError(f"{spot}.frames: {len(frames)} frames are too few; write at least {least}")
            filler = _Filler(f"{name}/{answer}", _slots(task, where) | _slots(rule, spot), heldout_values, spot)
            order = list(frames)
            random.Random(f"frames/{name}/{answer}").shuffle(order)
            made = []
            for frame in order[:heldout_frames]:
                made += [("unseen_frames", text) for text in filler.fill(frame, False, test_pairs_per_frame)]
            for frame in order[heldout_frames:]:
                made += [("train", text) for text in filler.fill(frame, False, pairs_per_frame)]
                made += [("new_values", text) for text in filler.fill(frame, True, test_pairs_per_frame)]
            pairs += [
                Pair(pair_id(str(path), text, answer), text, answer, part, str(path), name) for part, text in made
            ]
    return pairs


class _Filler:
    """Fills frames with a rule's slot values, of which a share is kept for testing."""

    def __init__(self, key: str, slots: dict[str, list], share: float, where: str):
        self.key, self.where = key, where
        self.values: dict[str, tuple[list[str], list[str]]] = {}
        for name, values in slots.items():
            if not isinstance(values, list) or len(set(map(str, values))) < 2:
                raise UserError(f"{where}: slot '{name}': expected a list of at least two different values")
            for value in values:
                if type(value) not in (str, int):
                    raise UserError(f"{where}: slot '{name}': YAML reads {value!r} as no text; write it in quotes")
            order = list(dict.fromkeys(map(str, values)))
            random.Random(f"values/{key}/{name}").shuffle(order)
            held = min(max(1, round(share * len(order))), len(order) - 1)
            self.values[name] = (order[held:], order[:held])

    def fill(self, frame: str, new: bool, count: int) -> list[str]:
        """Up to `count` different fillings; a frame without slots has one, and none with new values."""
        if not isinstance(frame, str) or not frame.strip():
            raise UserError(
                f"{self.where}.frames: expected text, found {frame!r}; quote a frame that has a colon"[:300]
            )
        names = _SLOT.findall(frame)
        unknown = [name for name in names if name not in self.values]
        if unknown:
            raise UserError(f"{self.where}: frame '{frame}' uses the slot '{unknown[0]}', which is not defined")
        if not names:
            return [] if new else [frame]
        draw = random.Random(f"fill/{self.key}/{frame}/{new}")
        texts: dict[str, None] = {}
        for _ in range(8 * count):
            chosen = {name: draw.choice(self.values[name][new]) for name in names}
            texts[_SLOT.sub(lambda slot, chosen=chosen: chosen[slot[1]], frame)] = None
            if len(texts) == count:
                break
        return list(texts)


def _slots(owner: dict[str, Any], where: str) -> dict[str, list]:
    return expect(owner, "slots", dict, where) if owner.get("slots") else {}
