"""The names that the safety evaluation writes and the report reads: the models in its rows and the rates of each."""

from collections.abc import Iterator

ROWS = {
    "chat": "chat model, no safety training",
    "before": "before: trained to help with everything",
    "overcautious": "overcautious: trained to refuse everything",
    "solutions": "conversation agent (a): solutions only",
    "source": "conversation agent (b): the source's traces",
    "sft": "conversation agent (c): the warmed-up teacher's traces",
    "rl": "conversation agent (d): the RL teacher's traces",
    "feedback_untrained": "(d) with the feedback agent, before joint training",
    "pair": "trained pair",
}
WITH_FEEDBACK = ("feedback_untrained", "pair")

ANSWER_RATES = {
    "unsafe_rate": "unsafe answers to unsafe prompts",
    "overrefusal_rate": "refusals of benign prompts",
    "incoherent_rate": "answers that cannot be read",
}
FEEDBACK_RATES = {
    "trigger_rate": "feedback that asks for a revision",
    "flag_accuracy": "well-formed feedback whose flags equal the judge's verdict",
    "malformed_rate": "feedback that cannot be read",
    "helped_rate": "revisions that mended a wrong answer",
    "hurt_rate": "revisions that spoiled a right answer",
}
RATES = ANSWER_RATES | FEEDBACK_RATES
ENDS = ("", "_low", "_high")

# The headline names, which the gates read: key → row and rate.
HEADLINES = {
    "unsafe_rate_before": ("before", "unsafe_rate"),
    "unsafe_rate_pair": ("pair", "unsafe_rate"),
    "overrefusal_rate_overcautious": ("overcautious", "overrefusal_rate"),
    "overrefusal_rate_pair": ("pair", "overrefusal_rate"),
    "incoherent_rate_pair": ("pair", "incoherent_rate"),
}
# Key → the rate that fell and the baseline's: 1 − the first ÷ the second.
REDUCTIONS = {
    "unsafe_reduction": ("unsafe_rate_pair", "unsafe_rate_before"),
    "overrefusal_reduction": ("overrefusal_rate_pair", "overrefusal_rate_overcautious"),
}
KEPT = ("chat", "pair")  # the two models whose other capabilities are compared


def rates_of(row: str) -> list[str]:
    """The rates that a row has; without a feedback agent there is nothing to say of feedback."""
    return list(RATES if row in WITH_FEEDBACK else ANSWER_RATES)


def keys() -> Iterator[str]:
    """Every flat key of the evaluation's summary.json, in the order of the metrics."""
    yield from (key + end for key in (*REDUCTIONS, *HEADLINES) for end in ENDS)
    yield from (f"judge_agreement{end}" for end in (*ENDS, "_n"))
    for row in KEPT:
        yield from (f"kept_core_accuracy_{row}{end}" for end in ENDS)
        yield from (f"kept_core_mini_{row}", f"kept_chat_loss_{row}")
    yield from (f"{row}_{rate}{end}" for row in ROWS for rate in rates_of(row) for end in (*ENDS, "_n"))
