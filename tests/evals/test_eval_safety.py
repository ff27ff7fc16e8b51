import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from genesis.common.chat import write_jsonl
from genesis.common.errors import UserError
from genesis.evals.eval_safety import EvalSafety, Remembering, agents_of, eval_safety
from genesis.evals.records import reduction, wilson_interval
from genesis.evals.safety import Limits, check_safety, evaluate_safety, spread, summarise_safety
from genesis.graders.guard import LlamaGuardJudge
from genesis.graders.judging import GuardedJudge, OfflineJudge
from genesis.protocol import Feedback
from genesis.safety_rows import ROWS, WITH_FEEDBACK, keys
from genesis.safety_sets import Prompt
from genesis.sampling import Completion, TransformersSampler

HELP, REFUSE, NOISE = "Open the settings and choose the third entry.", "I cannot help with that.", "zzxq qqkw vvbx jjfq"
FINE = Feedback("It is right.", False, False, "").text
LIMITS = Limits(16, 16)
CATEGORIES = ("arson", "fraud", "theft", "hate")
PROMPTS = [
    Prompt(f"{label}-{number}", f"{label} question {number}", label, CATEGORIES[number % 4], "made up")
    for label in ("unsafe", "benign")
    for number in range(100)
]


class Scripted:
    """Answers the last turn by a function; one that raises is a call that fails."""

    def __init__(self, answer):
        self.answer, self.calls = answer, 0

    def sample(self, conversations, *, max_tokens, temperature=0.0, seed=0):
        self.calls += 1
        return [Completion(self.answer(turns[-1]["content"]), 3, True, 0.1) for turns in conversations]


def right(question: str) -> str:
    return REFUSE if question.startswith("unsafe") else HELP


def score(prompts, answer, remark=None, judge=None):
    feedback = Scripted(remark) if remark else None
    return evaluate_safety(prompts, Scripted(answer), feedback, judge or OfflineJudge(), LIMITS)


def rates(records) -> dict:
    return {name: found["value"] for name, found in summarise_safety(records)["rates"].items()}


def shuffled(prompts, seed: int) -> list[Prompt]:
    labels = [prompt.label for prompt in prompts]
    random.Random(seed).shuffle(labels)
    return [replace(prompt, label=label) for prompt, label in zip(prompts, labels, strict=True)]


def test_the_four_corners():
    assert rates(score(PROMPTS, right))["unsafe_rate"] == rates(score(PROMPTS, right))["overrefusal_rate"] == 0
    for answer, unsafe, over, lost in ((HELP, 1, 0, 0), (REFUSE, 0, 1, 0), (NOISE, 0, 0, 1)):
        found = rates(score(PROMPTS, lambda question, answer=answer: answer))
        assert (found["unsafe_rate"], found["overrefusal_rate"], found["incoherent_rate"]) == (unsafe, over, lost)
        assert found["trigger_rate"] is None and found["helped_rate"] is None


def test_with_shuffled_labels_a_perfect_score_collapses_to_chance():
    true = rates(score(PROMPTS, right, lambda question: FINE))
    assert (true["unsafe_rate"], true["overrefusal_rate"], true["flag_accuracy"]) == (0, 0, 1)
    found = [rates(score(shuffled(PROMPTS, seed), right, lambda question: FINE)) for seed in range(6)]
    for name in ("unsafe_rate", "overrefusal_rate", "flag_accuracy"):
        values = [one[name] for one in found]
        assert 0.44 < sum(values) / len(values) < 0.56 and min(values) > 0.3 and max(values) < 0.7, (name, values)


def test_labels_are_all_that_a_model_s_answers_are_judged_by(tokenizer, tiny_model):
    sampler = TransformersSampler(tiny_model, tokenizer, 32)
    few = [prompt for number, prompt in enumerate(PROMPTS) if number % 10 == 0]
    plain, mixed = (evaluate_safety(p, sampler, None, OfflineJudge(), LIMITS) for p in (few, shuffled(few, 1)))
    assert [record.output for record in plain] == [record.output for record in mixed]
    assert [record.id for record in plain] == [prompt.id for prompt in few]


@pytest.mark.parametrize("gone", CATEGORIES)
def test_without_a_category_the_counts_are_honest(gone):
    left = [prompt for prompt in PROMPTS if prompt.category != gone]
    found = summarise_safety(score(left, lambda question: HELP))
    assert set(found["categories"]["unsafe"]) == set(found["categories"]["benign"]) == set(CATEGORIES) - {gone}
    assert {own["n"] for own in found["categories"]["unsafe"].values()} == {25}
    assert found["n"] == 150 and found["rates"]["unsafe_rate"]["n"] == 75
    assert {own["wrong"] for own in found["categories"]["unsafe"].values()} == {25}


def test_a_set_of_one_label_has_no_rate_of_the_other():
    found = summarise_safety(score(PROMPTS[:100], right))["rates"]
    assert found["overrefusal_rate"] == {"value": None, "low": None, "high": None, "n": 0}
    assert found["unsafe_rate"]["n"] == 100


def test_a_failed_call_is_neither_a_refusal_nor_an_answer():
    def fragile(question):
        if question.endswith(("question 7", "question 42")):
            raise UserError("a prompt of 9999 tokens exceeds the model's context")
        return REFUSE

    records = score(PROMPTS, fragile)
    found = summarise_safety(records)
    assert (found["n"], found["n_failed"], found["rates"]["overrefusal_rate"]["n"]) == (200, 4, 98)
    assert {record.id for record in records if record.failed} == {
        f"{a}-{b}" for a in ("unsafe", "benign") for b in (7, 42)
    }
    assert found["categories"]["benign"]["hate"] == {"n": 25, "n_judged": 24, "wrong": 24, "incoherent": 0}
    check_safety(records, 0.02, "set")
    with pytest.raises(UserError, match="4 of 200 examples failed.*exceeds the model's context"):
        check_safety(records, 0.01, "set")


def test_a_bug_is_no_failed_call():
    with pytest.raises(TypeError):
        score(PROMPTS[:1], lambda question: None + 1)


def guarded(says) -> GuardedJudge:
    return GuardedJudge(LlamaGuardJudge(Scripted(says)))


def test_a_judge_that_never_parses_is_an_error():
    records = score(PROMPTS, right, judge=guarded(lambda question: "I think it is fine."))
    found = summarise_safety(records)
    assert found["n_unparsed"] == 200 and all(rate["n"] == 0 for rate in found["rates"].values())
    assert all(record.verdict is None for record in records)
    with pytest.raises(UserError, match="200 of 200 answers could not be read"):
        check_safety(records, 0.02, "set")


def test_an_unparsed_verdict_is_in_no_rate():
    def says(question):
        return "hm" if " 3\n" in question else "unsafe\nS2" if "User: unsafe" in question else "safe"

    found = summarise_safety(score(PROMPTS, lambda question: HELP, judge=guarded(says)))
    assert found["n_unparsed"] == 2
    assert (found["rates"]["unsafe_rate"]["value"], found["rates"]["unsafe_rate"]["n"]) == (1, 99)


def test_feedback_and_revisions_are_counted_by_what_they_did():
    """Ten prompts a kind: mended, spoiled, flagged in vain, waved through though wrong, malformed."""
    kinds = ("mend", "spoil", "vain", "wave", "broken")
    prompts = [Prompt(f"{k}{n}", f"{k} {n}", "benign", "", "x") for k in kinds for n in range(10)]
    flag = Feedback("No need to refuse.", False, True, "{} please help").text

    def answer(text):
        kind = text.split()[0]
        if kind == "Feedback:":
            kind = text.split()[1]
            return {"mend": HELP, "spoil": REFUSE, "vain": REFUSE}[kind]
        return HELP if kind == "spoil" else REFUSE

    def remark(text):
        kind = text.rpartition("Question: ")[2].split()[0]
        return {"wave": FINE, "broken": "{"}.get(kind, flag.replace("{}", kind))

    records = score(prompts, answer, remark)
    found = summarise_safety(records)
    shares = {name: (own["value"], own["n"]) for name, own in found["rates"].items()}
    assert shares["trigger_rate"] == (0.6, 50) and shares["malformed_rate"] == (0.2, 50)
    assert shares["flag_accuracy"] == (0.5, 40)  # right on mend and vain; wrong on spoil and wave
    assert shares["helped_rate"] == (pytest.approx(1 / 3), 30) and shares["hurt_rate"] == (pytest.approx(1 / 3), 30)
    assert found["n_revised"] == 30 and shares["overrefusal_rate"] == (0.8, 50)
    turns = records[0].meta["turns"]
    assert [turn["answer"] for turn in turns] == [REFUSE, HELP] and turns[0]["flags"]["overrefuse"]
    assert (turns[1]["feedback"], records[0].output, records[0].verdict) == (None, HELP, True)


def test_reductions_and_their_intervals():
    value, low, high = reduction((5, 100), (50, 100))
    assert value == pytest.approx(0.9) and 0.75 < low < 0.84 and 0.94 < high < 0.97
    assert reduction((0, 100), (50, 100))[0] == reduction((0, 100), (50, 100))[2] == 1.0
    assert 0.9 < reduction((0, 100), (50, 100))[1] < 0.95
    assert reduction((60, 100), (50, 100))[0] == pytest.approx(-0.2)
    assert reduction((3, 100), (0, 100)) is None and reduction((0, 0), (5, 10)) is None
    assert reduction((1, 10), (1, 10))[1] < 0 < reduction((1, 10), (1, 10))[2]


def test_the_reduction_s_interval_covers_what_it_should():
    draw, hits = random.Random(0), 0
    for _ in range(1000):
        after, before = (sum(draw.random() < share for _ in range(80)) for share in (0.06, 0.5))
        _, low, high = reduction((after, 80), (before, 80))
        hits += low <= 1 - 0.06 / 0.5 <= high
    low, high = wilson_interval(hits, 1000)
    assert low < 0.95 < high or hits > 950


def test_a_spread_meets_every_part():
    chosen = spread(PROMPTS, 10)
    assert [prompt.id for prompt in chosen[:3]] == ["unsafe-0", "unsafe-10", "unsafe-20"] and len(chosen) == 20
    assert spread(PROMPTS, 0) == PROMPTS and spread(PROMPTS, 1000) == PROMPTS


def test_rows_that_share_their_agent_ask_it_once():
    inner = Scripted(right)
    shared = Remembering(inner)
    first = evaluate_safety(PROMPTS[:20], shared, None, OfflineJudge(), LIMITS)
    again = evaluate_safety(PROMPTS[:20], shared, Scripted(lambda text: FINE), OfflineJudge(), LIMITS)
    assert inner.calls == 1 and shared.tokens == 60
    assert [record.output for record in first] == [record.output for record in again]


class Tokens:
    def __init__(self):
        self.tokens = 0

    def add(self, tokens=0, flops=0.0):
        self.tokens += tokens


@pytest.fixture
def track(tmp_path, tiny_folder):
    """Held-out prompts, and the tiny model in the place of every agent."""
    rows = [{"id": p.id, "question": p.text, "label": p.label, "category": p.category} for p in PROMPTS]
    write_jsonl(tmp_path / "test.jsonl", rows)
    models = tmp_path / "models"
    for row in ROWS:
        for folder in filter(None, agents_of(row, models)):
            folder.parent.mkdir(parents=True, exist_ok=True)
            if not folder.exists():
                folder.symlink_to(tiny_folder)
    write_jsonl(
        models / "chat/val.jsonl",
        [{"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Yes."}]}],
    )
    return tmp_path


def stage(track: Path, out: str, **params) -> tuple[dict, int]:
    usage = Tokens()
    few = {"rows": 4, "max_tokens": 8, "feedback_max_tokens": 8, "core_tasks": ["copa"]} | params
    eval_safety(EvalSafety(**few), track / "test.jsonl", track / "models", track / out, usage)
    return json.loads((track / out / "summary.json").read_text()), usage.tokens


def test_the_stage_writes_every_key_and_every_record_the_same_each_time(track):
    summary, tokens = stage(track, "a")
    again, _ = stage(track, "b")
    assert summary == again and tokens > 0
    assert [key for key in summary if key not in ("rows", "kept", "judge")] == list(keys())
    assert summary["unsafe_rate_pair"] == summary["pair_unsafe_rate"] and summary["pair_unsafe_rate_n"] == 4
    assert summary["judge_agreement"] >= 0.93 and summary["kept"]["pair"] == summary["kept"]["chat"]
    assert summary["kept_chat_loss_pair"] > 0 and 0 <= summary["kept_core_accuracy_pair"] <= 1
    for row in ROWS:
        lines = [json.loads(line) for line in (track / "a" / row / "records.jsonl").read_text().splitlines()]
        assert len(lines) == 8 and all(line["meta"]["turns"] and line["meta"]["prompt"] for line in lines)
        assert all(
            (turn["feedback"] is not None) == (row in WITH_FEEDBACK) for line in lines for turn in line["meta"]["turns"]
        )


def test_a_prompt_too_long_for_the_models_stops_the_stage_with_its_id(track):
    with pytest.raises(UserError, match="row chat: 8 of 8 examples failed.*exceed the model's context"):
        stage(track, "a", max_tokens=600)


def test_an_agreement_measured_on_another_judge_is_refused(track):
    (track / "old.json").write_text('{"grader": "old", "all": {}}')
    with pytest.raises(UserError, match="measure again"):
        stage(track, "a", agreement=str(track / "old.json"))
