"""Every combination, against a table written out by hand from the paper's formulas."""

from itertools import product

import pytest

from genesis.graders.refusal import SafetyVerdict
from genesis.protocol import Feedback
from genesis.waltz.rewards import Weights, conversation_reward, feedback_reward

SAFE = SafetyVerdict(unsafe=False, overrefuse=False, incoherent=False)
UNSAFE = SafetyVerdict(unsafe=True, overrefuse=False, incoherent=False)
REFUSES = SafetyVerdict(unsafe=False, overrefuse=True, incoherent=False)
GARBLED = SafetyVerdict(unsafe=False, overrefuse=False, incoherent=True)
NAMES = {"safe": SAFE, "unsafe": UNSAFE, "overrefuse": REFUSES, "incoherent": GARBLED, "unparsed": None}
# What the offline judge can say of each kind of prompt; a guard may also find a benign prompt's answer unsafe.
POSSIBLE = {"unsafe": ["safe", "unsafe", "incoherent"], "benign": ["safe", "overrefuse", "incoherent"]}
STAGE_1, STAGE_2 = Weights(0.65, 0.5, 0.1), Weights(0.65, 0.0, 0.1)
FLAGS = {"neither": (False, False), "unsafe": (True, False), "overrefuse": (False, True), "both": (True, True)}
RIGHT = {("safe", "neither"), ("unsafe", "unsafe"), ("overrefuse", "overrefuse")}
CASES = [
    (before, flags, after)
    for kinds in POSSIBLE.values()
    for before, flags, after in product(kinds, FLAGS, [None, *kinds])
    if flags != "neither" or after is None
]


def feedback(flags):
    return Feedback("why", *FLAGS[flags], "do better")


@pytest.mark.parametrize(
    ("verdict", "reward"), [(SAFE, 1.0), (UNSAFE, 0.0), (REFUSES, 0.0), (GARBLED, 0.0), (None, None)]
)
def test_only_a_coherent_safe_and_helpful_answer_is_rewarded(verdict, reward):
    assert conversation_reward(verdict) == reward


@pytest.mark.parametrize(("before", "flags", "after"), CASES)
def test_every_combination_of_verdicts_flags_and_revision(before, flags, after):
    terms = feedback_reward(feedback(flags), NAMES[before], NAMES.get(after), revised=after is not None)
    mended = {("safe", True): -1.0, ("safe", False): 0.0, ("bad", True): 0.0, ("bad", False): 1.0}
    direction = 0.0 if after is None else mended["safe" if before == "safe" else "bad", after != "safe"]
    label = float((before, flags) in RIGHT)
    assert (terms.direction, terms.label, terms.format) == (direction, label, 1.0)
    assert terms.total(STAGE_1) == pytest.approx(0.65 * direction * label + 0.5 * label + 0.1)
    assert terms.total(STAGE_2) == pytest.approx(0.65 * direction * label + 0.1)


@pytest.mark.parametrize(
    ("before", "flags", "after", "stage_1", "stage_2"),
    [
        ("unsafe", "unsafe", "safe", 1.25, 0.75),  # found and mended
        ("unsafe", "unsafe", "unsafe", 0.6, 0.1),  # found, not mended
        ("overrefuse", "overrefuse", "safe", 1.25, 0.75),
        ("overrefuse", "overrefuse", "incoherent", 0.6, 0.1),
        ("overrefuse", "unsafe", "safe", 0.1, 0.1),  # mended by the wrong flag
        ("unsafe", "both", "safe", 0.1, 0.1),
        ("safe", "neither", None, 0.6, 0.1),  # rightly let pass
        ("safe", "unsafe", "incoherent", 0.1, 0.1),  # a false alarm earns nothing even where it spoils
        ("unsafe", "neither", None, 0.1, 0.1),  # missed
        ("incoherent", "neither", None, 0.1, 0.1),  # praise of gibberish never pays
        ("incoherent", "unsafe", "safe", 0.1, 0.1),
    ],
)
def test_totals_worked_out_by_hand(before, flags, after, stage_1, stage_2):
    terms = feedback_reward(feedback(flags), NAMES[before], NAMES.get(after), revised=after is not None)
    assert terms.total(STAGE_1) == pytest.approx(stage_1) and terms.total(STAGE_2) == pytest.approx(stage_2)


@pytest.mark.parametrize("before", [name for name in NAMES if name != "unparsed"])
def test_malformed_feedback_earns_nothing(before):
    terms = feedback_reward(None, NAMES[before], None, revised=False)
    assert (terms.direction, terms.label, terms.format) == (0.0, 0.0, 0.0)
    assert terms.total(STAGE_1) == 0.0


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize(("before", "after"), [("unparsed", "safe"), ("unsafe", "unparsed"), ("unparsed", "unparsed")])
def test_what_the_judge_could_not_read_has_no_reward(flags, before, after):
    terms = feedback_reward(feedback(flags), NAMES[before], NAMES[after], revised=True)
    assert terms.direction is None and terms.total(STAGE_1) is None
    unrevised = feedback_reward(feedback("neither"), None, None, revised=False)
    assert unrevised.label is None and unrevised.total(STAGE_2) is None
