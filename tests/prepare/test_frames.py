import json
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from genesis.common.errors import UserError
from genesis.common.params import build, read_yaml
from genesis.graders.answers.grade import validate_grader
from genesis.prepare.agents import AgentData
from genesis.prepare.frames import Pair, seed_pairs
from genesis.prepare.quality import leaks, secrets

SEED = Path(__file__).parents[2] / "data/seed"
PARAMS = build(AgentData, read_yaml(SEED.parents[1] / "conf/config.yaml")["agent_data"], "conf/config.yaml")
AGENTS = sorted(path.stem for path in (SEED / "agents").glob("*.yaml"))


def fill(path: Path, params: AgentData = PARAMS) -> list[Pair]:
    return seed_pairs(
        path,
        pairs_per_frame=params.pairs_per_frame,
        test_pairs_per_frame=params.test_pairs_per_frame,
        heldout_frames=params.heldout_frames,
        heldout_values=params.heldout_values,
    )


@pytest.fixture(scope="module")
def filled() -> dict[str, list[Pair]]:
    """The pairs of every agent that ships."""
    return {name: fill(SEED / f"agents/{name}.yaml") for name in AGENTS}


def train(pairs: list[Pair]) -> list[Pair]:
    return [pair for pair in pairs if pair.part == "train"]


def matcher(frame: str, slots: dict[str, list]) -> re.Pattern:
    """What any filling of the frame matches; the k-th slot's value is group v<k>."""
    parts = re.split(r"{(\w+)}", frame)
    values = ["|".join(re.escape(str(value)) for value in slots[name]) for name in parts[1::2]]
    groups = [f"(?P<v{k}>{value})" for k, value in enumerate(values)]
    return re.compile("".join(re.escape(text) + group for text, group in zip(parts[::2], [*groups, ""], strict=True)))


def origins(path: Path, pairs: list[Pair]):
    """Yield (task, answer, frames by part, values by part and slot) of every rule, recovered from the texts alone."""
    for task in read_yaml(path)["tasks"]:
        for rule in task["rules"]:
            slots = {**(task.get("slots") or {}), **(rule.get("slots") or {})}
            matchers = [(frame, re.findall(r"{(\w+)}", frame), matcher(frame, slots)) for frame in rule["frames"]]
            frames, values = defaultdict(set), defaultdict(set)
            for pair in pairs:
                if (pair.task, pair.completion) != (task["name"], rule["answer"]):
                    continue
                found = [(f, names, m) for f, names, pattern in matchers if (m := pattern.fullmatch(pair.prompt))]
                assert len(found) == 1, f"{pair.prompt} comes from {len(found)} frames"
                frame, names, match = found[0]
                frames[pair.part].add(frame)
                for k, name in enumerate(names):
                    values[pair.part, name].add(match[f"v{k}"])
            yield task["name"], rule["answer"], frames, values


@pytest.mark.parametrize("name", AGENTS)
def test_held_out_frames_and_values_never_stand_in_training(name, filled):
    for task, answer, frames, values in origins(SEED / f"agents/{name}.yaml", filled[name]):
        where = f"{task}: {answer}"
        assert len(frames["train"]) >= 8, where
        assert len(frames["unseen_frames"]) == PARAMS.heldout_frames, where
        assert not frames["train"] & frames["unseen_frames"], where
        assert frames["new_values"] <= frames["train"], where
        for part, slot in values:
            if part == "new_values":
                assert not values[part, slot] & values["train", slot], f"{where}: {slot}"


def test_every_agent_has_enough_to_learn_from(filled):
    counts = {name: len(train(pairs)) for name, pairs in filled.items()}
    assert len(counts) == 15 and min(counts.values()) >= 120 and sum(counts.values()) >= 1800, counts
    for pairs in filled.values():
        assert len({pair.id for pair in pairs}) == len({(pair.prompt, pair.completion) for pair in pairs})


def test_no_agent_is_taught_a_secret(filled):
    found = {pair.prompt: kinds for pairs in filled.values() for pair in pairs
             if (kinds := secrets(f"{pair.prompt}\n{pair.completion}"))}  # fmt: skip
    assert found == {}


def test_filling_is_the_same_every_time_and_everywhere(filled, tmp_path):
    copy = tmp_path / "qa.yaml"
    copy.write_bytes((SEED / "agents/qa.yaml").read_bytes())
    again = [replace(pair, source=filled["qa"][0].source) for pair in fill(copy)]
    assert again == filled["qa"]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def grams(text: str, n: int) -> set[tuple[str, ...]]:
    return {tuple(words(text)[k : k + n]) for k in range(len(words(text)) - n + 1)}


@pytest.mark.parametrize("name", AGENTS)
def test_scenarios_are_gradable_and_share_nothing_with_training(name, filled):
    scenarios = [json.loads(line) for line in (SEED / f"scenarios/{name}.jsonl").read_text().splitlines()]
    assert len(scenarios) == 18 and len({row["id"] for row in scenarios}) == 18
    assert {row["id"]: problem for row in scenarios if (problem := validate_grader(row["grader"]))} == {}
    prompts = [pair.prompt for pair in train(filled[name])]
    learnt = set().union(*(grams(prompt, 8) for prompt in prompts))
    assert [row["id"] for row in scenarios if grams(row["prompt"], 8) & learnt] == []
    assert leaks(prompts, [row["prompt"] for row in scenarios], 0.6) == []


TASK = {
    "name": "route",
    "slots": {"item": ["lamp", "mug", "chair", "desk"], "day": ["Monday", "Friday"]},
    "rules": [{"answer": "billing", "frames": [f"Frame {k} on the {{item}} of {{day}}" for k in range(6)]}],
}


def seed(tmp_path, change) -> Path:
    """A small seed file after `change` was made to its task."""
    task = yaml.safe_load(yaml.safe_dump(TASK))
    change(task, task["rules"][0])
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({"agent": "small", "tasks": [task]}))
    return path


def test_a_value_that_stands_twice_in_a_list_is_held_out_or_not_as_one(tmp_path):
    path = seed(tmp_path, lambda task, rule: task["slots"].update(item=["lamp", "mug", "lamp", "mug", "chair"]))
    for share in (0.25, 0.5, 1.0):
        ((*_, values),) = origins(path, fill(path, replace(PARAMS, heldout_values=share, pairs_per_frame=20)))
        assert values["train", "item"] and values["new_values", "item"]
        assert not values["train", "item"] & values["new_values", "item"]


def test_a_frame_without_slots_is_asked_once_and_has_no_new_values(tmp_path):
    path = seed(tmp_path, lambda task, rule: rule.update(frames=[f"Plain question {k}?" for k in range(5)]))
    pairs = fill(path)
    assert [pair.part for pair in pairs] == ["unseen_frames"] * 2 + ["train"] * 3
    assert len({pair.prompt for pair in pairs}) == 5


def update(**values):
    return lambda task, rule: rule.update(values)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda t, r: r["frames"].append("On {colour}"),
            r"rules\[0\]: frame 'On {colour}' uses the slot 'colour', which",
        ),
        (lambda t, r: r.pop("answer"), r"tasks\[0\].rules\[0\]: field 'answer': expected str, found None"),
        (update(answer=False), r"field 'answer': expected str, found False"),
        (lambda t, r: t.pop("name"), r"small.yaml: tasks\[0\]: field 'name': expected str"),
        (lambda t, r: t.update(rules="x"), r"tasks\[0\]: field 'rules': expected list, found 'x'"),
        (lambda t, r: t.update(rules=["x"]), r"rules\[0\]: field 'answer': expected str"),
        (lambda t, r: t.update(slots=["x"]), r"tasks\[0\]: field 'slots': expected dict, found \['x'\]"),
        (update(frames=["One {item}"]), r"rules\[0\].frames: 1 frames are too few; write at least 4"),
        (update(frames=[{"Severity": "what?"}] * 6), r"frames: expected text, found {'Severity': 'what\?'}; quote"),
        (update(slots={"item": ["one"]}), r"slot 'item': expected a list of at least two different values"),
        (update(slots={"item": ["one", False]}), r"slot 'item': YAML reads False as no text; write it in quotes"),
        (update(slots={"item": ["1.2", 1.10]}), r"slot 'item': YAML reads 1.1 as no text; write it in quotes"),
    ],
)
def test_a_bad_seed_is_an_error_with_its_place(tmp_path, change, said):
    with pytest.raises(UserError, match=said):
        fill(seed(tmp_path, change))


def test_enough_frames_are_asked_for_when_more_are_held_out(tmp_path):
    with pytest.raises(UserError, match=r"6 frames are too few; write at least 8"):
        fill(seed(tmp_path, update()), replace(PARAMS, heldout_frames=7))
