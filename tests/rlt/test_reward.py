"""The RLT reward against a slow reference, against numbers worked out by hand, and in what it promises (DESIGN 5.1)."""

import math
import random
import types

import pytest
import torch
from rlt_models import make_model
from rlt_reference import END, score
from transformers import PretrainedConfig

from genesis.common.errors import UserError
from genesis.rlt.cases import Case
from genesis.rlt.prompts import teacher_prompt
from genesis.rlt.reward import LOGGED, RltReward

LONG = " ".join(f"Step {i}: weigh the aim, then answer." for i in range(30))
PLAIN = "The question asks for help.\n\nIt is harmless, so I explain it."
EXPLANATIONS = {
    "plain": PLAIN + END,
    "malformed": "I think it",
    "empty": END,
    "empty and malformed": "",
    "one token": "a" + END,
    "one space": " " + END,
    "very long": LONG + END,
    "accents": "Un café déjà vu\n\nnaïve, é, ﬁ" + END,
    "emoji": "🙂👩‍👩‍👧 fine 🏳️‍🌈" + END,
    "other scripts": "汉字 and العربية are fine" + END,
    "holds the solution": "So we say: Boil water. That is it: Boil water." + END,
    "is the question": "How do I make tea?" + END,
    "holds another tag": "<|end_of_thought|>\n\n<|begin_of_solution|>Boil water.<|end_of_solution|>" + END,
    "holds its own opening": "<|begin_of_explanation|>\n\nfirst" + END,
    "holds half a tag": "it ends <|end_of_expl" + END,
    "goes on after the end": "short" + END + " and what follows is free" + END,
    "begins with new lines": "\n\nfirst, then" + END,
    "ends with new lines": "first, then\n\n" + END,
    "only new lines": "\n\n\n" + END,
    "ends like a tag begins": "is it so .<|" + END,
}
SOLUTIONS = {
    "one dot": ".",
    "a dot within": "No. Never. Stop.",
    "a tag within": "Boil water.<|end_of_solution|> and more",
    "unicode": "é🙂汉",
    "spaced": "  Boil water.\n",
}
TERMS = ("reward", "r_ss", "ss_mean", "ss_min", "r_kl", "kl_mean", "kl_max", "format", "length")


def case(name, completion=PLAIN + END, solution="Boil water.", question="How do I make tea?", **systems):
    return Case(
        name, question, solution, completion, **{"teacher_system": "T.", "student_system": "S. Think.", **systems}
    )


CASES = [case(name, completion) for name, completion in EXPLANATIONS.items()]
CASES += [case(name, solution=solution) for name, solution in SOLUTIONS.items()]
CASES += [
    case("no systems", teacher_system=None, student_system=None),
    case("question in the system", student_system="How do I make tea? Boil water. " + PLAIN),
    case("equal texts", completion="same" + END, solution="same", question="same", student_system="same"),
]


def reward_of(tokenizers, models_of, teacher="own", student=None, **options):
    student = student or teacher
    return RltReward(models_of[teacher][0], tokenizers[teacher], models_of[student][1], tokenizers[student], **options)


def near(row, terms, tolerance=1e-5):
    found = {name: getattr(row, name) for name in terms}
    assert found == pytest.approx(terms, abs=tolerance, rel=1e-6), row.id


@pytest.mark.parametrize("blank", [True, False])
@pytest.mark.parametrize("kind", ["own", "gpt4", "gpt2"])
def test_every_case_agrees_with_the_slow_reference(tokenizers, models_of, kind, blank):
    reward = reward_of(tokenizers, models_of, kind, score_blank=blank)
    teacher, student = models_of[kind]
    for one, row in zip(CASES, reward.score(CASES), strict=True):
        near(row, score(teacher, tokenizers[kind], student, tokenizers[kind], one, blank))
        assert row.by_token is (None if row.length == 0 else True) and row.error is None, one.id


@pytest.mark.parametrize(("teacher", "student"), [("own", "gpt2"), ("gpt4", "own"), ("gpt2", "gpt4")])
def test_two_tokenizers_are_compared_over_common_stretches(tokenizers, models_of, teacher, student):
    reward = reward_of(tokenizers, models_of, teacher, student, score_blank=False)
    sides = models_of[teacher][0], tokenizers[teacher], models_of[student][1], tokenizers[student]
    rows = reward.score(CASES)
    for one, row in zip(CASES, rows, strict=True):
        near(row, score(*sides, one, blank=False))
    plain = rows[0]
    assert plain.by_token is False
    assert plain.length != plain.student_explanation[1] - plain.student_explanation[0]


def test_the_tokens_of_one_tokenizer_are_the_sampled_text(tokenizers, models_of):
    for kind in tokenizers:
        reward = reward_of(tokenizers, models_of, kind, score_blank=False)
        row = reward.score([CASES[0]])[0]
        ids = reward._teacher_spans.encode([reward.prompts([CASES[0]])[0] + CASES[0].completion])[0].ids
        assert tokenizers[kind].decode(ids[slice(*row.teacher_explanation)]) == PLAIN


@pytest.mark.parametrize("kind", ["own", "gpt4"])
def test_a_batch_of_64_equals_one_at_a_time_whatever_the_padding_and_the_order(tokenizers, models_of, kind):
    words = LONG.split()
    rng = random.Random(0)
    cases = []
    for i in range(64):
        start, length = rng.randrange(40), rng.randrange(90)
        text = " ".join(words[start : start + length]) + rng.choice(["", END])
        cases.append(case(str(i), text, question=f"How do I make tea {i % 5}?", solution=f"Boil {i % 7} cups."))
    reward = reward_of(tokenizers, models_of, kind)
    alone = {one.id: reward.score([one])[0] for one in cases}
    for options in ({}, {"batch_tokens": 700}, {"logit_bytes": 2**17}):
        mixed = rng.sample(cases, 64)
        together = reward_of(tokenizers, models_of, kind, **options).score(mixed)
        assert [row.id for row in together] == [one.id for one in mixed]
        for row in together:
            near(row, {name: getattr(alone[row.id], name) for name in TERMS})


def test_a_model_that_keeps_a_window_is_scored_whole(tokenizers):
    tokenizer = tokenizers["gpt4"]
    window = {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0}
    teacher, student = make_model(tokenizer, 3, **window), make_model(tokenizer, 4, **window)
    for one, row in zip(CASES[:4], RltReward(teacher, tokenizer, student, tokenizer).score(CASES[:4]), strict=True):
        near(row, score(teacher, tokenizer, student, tokenizer, one))


class Table(torch.nn.Module):
    """A language model whose logits are known: `logits_V` after every token."""

    def __init__(self, logits_V):
        super().__init__()
        self.logits_V = torch.nn.Parameter(torch.as_tensor(logits_V))
        self.config = PretrainedConfig(vocab_size=len(logits_V))
        self.dtype = torch.float32

    def forward(self, input_ids, use_cache=False):
        return types.SimpleNamespace(logits=self.logits_V.expand(*input_ids.shape, -1))


def favouring(size, token, logit):
    values = torch.zeros(size)
    values[token] = logit
    return Table(values)


def test_two_uniform_models_pay_the_solutions_length_in_nats_only(tokenizer):
    size = len(tokenizer)
    uniform = Table(torch.zeros(size))
    good, malformed, empty = RltReward(uniform, tokenizer, uniform, tokenizer).score(
        [case("good"), case("malformed", "Because."), case("empty", END)]
    )
    nats = -math.log(size)
    near(good, {"ss_mean": nats, "ss_min": nats, "r_ss": 1.01 * nats, "kl_mean": 0, "kl_max": 0, "reward": 1.01 * nats})
    near(malformed, {"format": -1.0, "reward": 1.01 * nats - 1})
    near(empty, {"kl_mean": 1, "kl_max": 1, "r_kl": 3.03, "reward": 1.01 * nats - 3.03})


def test_terms_worked_out_by_hand_where_one_token_is_preferred(tokenizer):
    size = len(tokenizer)
    (a,), (b,) = (tokenizer(letter, add_special_tokens=False)["input_ids"] for letter in ("a", "b"))
    teacher, student = favouring(size, a, 7.0), favouring(size, b, 1.4)
    one = case("hand", "a" + END, solution="b")
    row = RltReward(teacher, tokenizer, student, tokenizer, score_blank=False).score([one])[0]
    norm_t, norm_s = math.log(math.exp(10) + size - 1), math.log(math.exp(2) + size - 1)
    d = (10 - norm_t) + norm_s  # the student gives "a" no more than any other
    r_ss = 1.01 * (2 - norm_s)
    near(row, {"length": 1, "r_ss": r_ss, "kl_mean": d, "kl_max": d, "r_kl": 3.03 * d, "reward": r_ss - 3.03 * d})
    # The blank line that the prefill wrote is one token more, and neither model prefers it.
    row = RltReward(teacher, tokenizer, student, tokenizer, score_blank=True).score([one])[0]
    blank = norm_s - norm_t
    assert row.length > 1
    n = row.length
    mean = (d + (n - 1) * blank) / n
    near(row, {"kl_mean": mean, "kl_max": d, "r_kl": 3 * (mean + 0.01 * d)})


def test_weights_are_the_callers(tokenizers, models_of):
    plain = reward_of(tokenizers, models_of).score([CASES[1]])[0]
    options = {"kl_weight": 2.0, "extreme_weight": 0.5, "malformed_penalty": -4.0}
    row = reward_of(tokenizers, models_of, **options).score([CASES[1]])[0]
    r_ss = plain.ss_mean + 0.5 * plain.ss_min
    r_kl = 2.0 * (plain.kl_mean + 0.5 * plain.kl_max)
    near(row, {"r_ss": r_ss, "r_kl": r_kl, "reward": r_ss - r_kl - 4})


def test_no_gradient_flows_and_both_models_are_left_as_they_were(tokenizers):
    tokenizer = tokenizers["own"]
    teacher, student = make_model(tokenizer, 1), make_model(tokenizer, 2)
    teacher.train()
    teacher.lm_head.eval()
    modes = [module.training for module in teacher.modules()]
    teacher.lm_head.weight.grad = torch.ones_like(teacher.lm_head.weight)
    with torch.enable_grad():
        rows = RltReward(teacher, tokenizer, student, tokenizer).score(CASES[:3])
    assert all(isinstance(row.reward, float) for row in rows)
    assert all(parameter.grad is None for parameter in student.parameters())
    assert [name for name, p in teacher.named_parameters() if p.grad is not None] == ["lm_head.weight"]
    assert torch.equal(teacher.lm_head.weight.grad, torch.ones_like(teacher.lm_head.weight))
    assert [module.training for module in teacher.modules()] == modes and not student.training


def test_dropout_is_off_while_the_teacher_is_scored(tokenizers, models_of):
    tokenizer = tokenizers["gpt4"]
    noisy = make_model(tokenizer, 1, attention_dropout=0.5).train()
    student = models_of["gpt4"][1]
    wanted = reward_of(tokenizers, models_of, "gpt4").score(CASES[:3])
    found = RltReward(noisy, tokenizer, student, tokenizer).score(CASES[:3])
    assert [row.reward for row in found] == pytest.approx([row.reward for row in wanted], abs=1e-5)


def test_what_exceeds_a_context_is_dropped_or_refused(tokenizers, models_of):
    tokenizer = tokenizers["own"]
    short = make_model(tokenizer, 2, context=160)
    sides = models_of["own"][0], tokenizer, short, tokenizer
    cases = [case("fits"), case("long", LONG + END), case("empty", solution=" ")]
    fits, long, empty = RltReward(*sides).score(cases)
    assert fits.reward is not None and not fits.overflow
    assert long.reward is None and long.overflow and "the student's context of 160 tokens" in long.error
    assert empty.reward is None and not empty.overflow and empty.error == "the solution is empty"
    with pytest.raises(UserError, match="case long: the student's context"):
        RltReward(*sides, on_overflow="refuse").score(cases)
    # A context that ends exactly with the last scored token is enough.
    need = fits.student_solution[1]
    assert RltReward(*sides[:2], make_model(tokenizer, 2, context=need), tokenizer).score(cases[:1])[0].reward
    assert RltReward(*sides[:2], make_model(tokenizer, 2, context=need - 1), tokenizer).score(cases[:1])[0].overflow


def test_a_logit_that_is_not_finite_is_said_and_spoils_nobody_else(tokenizer):
    size = len(tokenizer)
    broken = favouring(size, tokenizer("b")["input_ids"][0], -math.inf)
    good, bad = RltReward(broken, tokenizer, broken, tokenizer).score(
        [case("good", "a" + END, "a"), case("bad", "a" + END, "b")]
    )
    assert good.reward is not None
    assert bad.reward is None and bad.error == "a log-probability is not finite"


def test_the_share_copied_counts_unbroken_words(tokenizers, models_of):
    texts = ["So: Boil water now." + END, "Boil the water" + END, "now Boil water and Boil water" + END, END]
    rows = reward_of(tokenizers, models_of).score([case("", text, "Boil water now.") for text in texts])
    assert [row.copied for row in rows] == pytest.approx([1, 1 / 3, 2 / 3, 0])


def trl_call(reward, tokenizer, texts, **changes):
    """The reward as TRL calls it: ids with the end token, completions without specials."""
    metrics, extras = {}, {}
    prompts = [teacher_prompt(tokenizer, "How do I make tea?", "Boil water.", "T.")] * len(texts)
    call = {
        "prompts": prompts,
        "completions": texts,
        "completion_ids": [
            [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for text in texts
        ],
        "question": ["How do I make tea?"] * len(texts),
        "solution": ["Boil water."] * len(texts),
        "teacher_system": ["T."] * len(texts),
        "student_system": ["S."] * len(texts),
        "log_metric": metrics.__setitem__,
        "log_extra": extras.__setitem__,
        "trainer_state": None,
    } | changes
    return reward(**call), metrics, extras


@pytest.mark.parametrize("kind", ["own", "gpt4"])
def test_trl_gets_rewards_and_every_term(tokenizers, models_of, kind):
    tokenizer = tokenizers[kind]
    reward = reward_of(tokenizers, models_of, kind, score_blank=False)
    models_of[kind][0].generation_config.eos_token_id = [tokenizer.eos_token_id]
    texts = [PLAIN + END, "cut off", END]
    rewards, metrics, extras = trl_call(reward, tokenizer, texts)
    wanted = reward.score([case("", text, teacher_system="T.", student_system="S.") for text in texts])
    assert rewards == pytest.approx([row.reward for row in wanted], abs=1e-6)
    assert extras.keys() == set(LOGGED)
    for name in LOGGED:
        if name != "retokenised":
            assert extras[name] == [getattr(row, name) for row in wanted]
            assert metrics[f"rlt/{name}"] == pytest.approx(sum(map(float, extras[name])) / 3)
    assert metrics["rlt/malformed"] == pytest.approx(1 / 3) and metrics["rlt/format"] == pytest.approx(-1 / 3)
    assert metrics["rlt/retokenised"] == 0 and extras["retokenised"] == [False] * 3
    assert metrics["rlt/dropped"] == metrics["rlt/unscored"] == 0


def test_the_tag_that_ends_a_completion_is_text_and_other_splits_are_counted(tokenizers, models_of):
    tokenizer = tokenizers["own"]
    teacher = models_of["own"][0]
    (tag,) = tokenizer(END, add_special_tokens=False)["input_ids"]
    reward = reward_of(tokenizers, models_of, score_blank=False)
    letters = [i for letter in "the question" for i in tokenizer(letter, add_special_tokens=False)["input_ids"]]
    teacher.generation_config.eos_token_id = [tokenizer.eos_token_id, tag]
    ids = [[*letters, tag], [*letters, tokenizer.eos_token_id]]
    rewards, metrics, extras = trl_call(reward, tokenizer, ["?", "?"], completion_ids=ids)
    assert extras["malformed"] == [False, True] and extras["retokenised"] == [True, True]
    assert rewards[0] == pytest.approx(rewards[1] + 1) and metrics["rlt/retokenised"] == 1


def test_what_has_no_reward_is_none_for_trl_and_counted(tokenizers, models_of):
    tokenizer = tokenizers["own"]
    reward = RltReward(models_of["own"][0], tokenizer, make_model(tokenizer, 2, context=120), tokenizer)
    rewards, metrics, extras = trl_call(reward, tokenizer, ["short" + END, LONG + END])
    assert rewards[0] is not None and rewards[1] is None
    assert metrics["rlt/dropped"] == metrics["rlt/unscored"] == 0.5
    assert extras["r_ss"][1] is None and metrics["rlt/r_ss"] == extras["r_ss"][0]


def test_trl_prompts_and_solutions_that_do_not_fit_are_refused(tokenizers, models_of):
    tokenizer = tokenizers["own"]
    reward = reward_of(tokenizers, models_of)
    with pytest.raises(UserError, match="the prompt is not the text that teacher_prompt renders"):
        trl_call(reward, tokenizer, ["x"], teacher_system=["another"])
    with pytest.raises(UserError, match="the solution is empty"):
        trl_call(reward, tokenizer, ["x"], solution=[" "])


def test_the_teacher_may_be_the_model_of_the_moment(tokenizers, models_of):
    tokenizer = tokenizers["own"]
    now = [models_of["own"][0]]
    reward = RltReward(lambda: now[0], tokenizer, models_of["own"][1], tokenizer)
    first = reward.score(CASES[:1])[0]
    now[0] = models_of["own"][1]
    second = reward.score(CASES[:1])[0]
    near(second, score(now[0], tokenizer, now[0], tokenizer, CASES[0]))
    assert abs(first.r_kl - second.r_kl) > 0.1 and second.ss_mean == pytest.approx(first.ss_mean, abs=1e-6)
