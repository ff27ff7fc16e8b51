"""The RLT reward (arXiv 2506.08388): does an explanation help a student to the solution, and would it have thought so?

With log-probabilities at temperature τ of the tokens that both models read (the texts are in `prompts`):

    r_SS = mean_t log p_student(s_t) + w · min_t log p_student(s_t)          over the solution's tokens
    d_t  = log p_teacher(e_t | q, s) − log p_student(e_t | q)                over the explanation's tokens
    r_KL = λ · (mean_t d_t + w · max_t d_t)
    r    = r_SS − r_KL + m            m = the penalty where the end tag is missing, else 0

Tokens are found by their place in the text. An explanation without a token of its own has KL terms of 1. Where teacher
and student split text differently d_t does not exist token by token. Then d is taken over the shortest stretches of
characters that both cut out (every token boundary the two have in common): the sum of the teacher's log-probabilities
less the student's, as both models give the same characters. The mean is the sum of all d over the teacher's tokens,
the maximum that of d per teacher's token of its stretch; with one tokenizer this is the formula above, token by token.
The reward is then comparable between explanations, not between pairs of tokenizers.

Use it as a library (`RltReward.score`), from the command line (python -m genesis rlt-reward) or as a reward function of
TRL's GRPOTrainer, whose data set then has the columns prompt (`prompts.teacher_prompt`), question and solution.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from genesis.common.errors import UserError
from genesis.rlt.cases import Case, Scored
from genesis.rlt.logprobs import Request, context_length, plain, token_logprobs
from genesis.rlt.prompts import (
    END_EXPLANATION,
    Span,
    Text,
    bare_solution,
    split_completion,
    student_text,
    teacher_prompt,
    teacher_text,
)
from genesis.rlt.spans import Encoding, Side, SpanTokenizer, copied_share, explanation_span, pair_tokens

LOGGED = ("r_ss", "r_kl", "kl_mean", "kl_max", "format", "length", "malformed", "copied", "retokenised")


@dataclass(frozen=True)
class _Reading:
    """A case's texts as tokens, with what is known of it before any model ran."""

    teacher: Side
    student: Side
    solution: Span
    scored: Scored


class RltReward:
    """Scores completions with a teacher and a frozen student.

    Args:
        teacher: the model, or a function that gives it (inside GRPO: the one being trained, its weights of the moment).
        student: the frozen student.
        temperature: τ, which divides all logits; the one completions are sampled at.
        kl_weight: λ.
        extreme_weight: w, of the minimum and the maximum.
        malformed_penalty: m.
        score_blank: count the blank line before an explanation as its first token where the tokenizer keeps it apart, as
            the public code does. In training it must not count: no gradient reaches what the prefill wrote, and a teacher
            that finds it unlikely would be paid for short explanations, which leave it more weight in the mean.
        on_overflow: what to do with a case longer than a model's context: "drop" it (no reward, counted) or "refuse".
        batch_tokens: padded tokens in one forward; by default 2,048 on a CPU, whose caches hold little more, 16,384 elsewhere.
        logit_bytes: memory for one forward's logits where they cannot be made slice by slice; by default 8 MiB and 1 GiB.

    Raises:
        UserError: a tokenizer that gives no offsets.
    """

    __name__ = "rlt"

    def __init__(
        self,
        teacher: torch.nn.Module | Callable[[], torch.nn.Module],
        teacher_tokenizer: Any,
        student: torch.nn.Module,
        student_tokenizer: Any,
        *,
        temperature: float = 0.7,
        kl_weight: float = 3.0,
        extreme_weight: float = 0.01,
        malformed_penalty: float = -1.0,
        score_blank: bool = True,
        on_overflow: Literal["drop", "refuse"] = "drop",
        batch_tokens: int | None = None,
        logit_bytes: int | None = None,
    ):
        self._teacher = teacher
        self.student = student
        self.teacher_tokenizer, self.student_tokenizer = teacher_tokenizer, student_tokenizer
        self.temperature = temperature
        self.kl_weight, self.extreme_weight, self.malformed_penalty = kl_weight, extreme_weight, malformed_penalty
        self.score_blank, self.on_overflow = score_blank, on_overflow
        self.batch_tokens, self.logit_bytes = batch_tokens, logit_bytes
        self._teacher_spans, self._student_spans = SpanTokenizer(teacher_tokenizer), SpanTokenizer(student_tokenizer)
        self.same_vocabulary = self._teacher_spans.vocabulary == self._student_spans.vocabulary

    @property
    def teacher(self) -> torch.nn.Module:
        """The teacher with its weights of the moment."""
        return self._teacher if isinstance(self._teacher, torch.nn.Module) else self._teacher()

    def prompts(self, cases: Sequence[Case]) -> list[str]:
        """The texts that the teacher continued; equal ones are rendered once.

        Raises:
            UserError: see `prompts.teacher_prompt`.
        """
        keys = [(case.question, case.solution, case.teacher_system) for case in cases]
        rendered = {key: teacher_prompt(self.teacher_tokenizer, *key) for key in dict.fromkeys(keys)}
        return [rendered[key] for key in keys]

    def score(self, cases: Sequence[Case]) -> list[Scored]:
        """Score cases, in order; the value of one does not depend on the others.

        Raises:
            UserError: a chat template that does not fit; a case beyond a model's context where those are refused.
        """
        readings = self._read(cases)
        good = [reading for reading in readings if reading.scored.error is None]
        teacher = [_request(reading.teacher.encoding, reading.teacher.span) for reading in good]
        student = [_request(reading.student.encoding, reading.student.span, reading.solution) for reading in good]
        values = zip(good, self._logprobs(self.teacher, teacher), self._logprobs(self.student, student), strict=True)
        results = [self._combine(reading, teacher_K, student_K) for reading, teacher_K, student_K in values]
        rest = iter(results)
        return [next(rest) if reading.scored.error is None else reading.scored for reading in readings]

    def __call__(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]] | None = None,
        *,
        question: Sequence[str],
        solution: Sequence[str],
        teacher_system: Sequence[str] | None = None,
        student_system: Sequence[str] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list], None] | None = None,
        **_: Any,
    ) -> list[float | None]:
        """TRL's reward function: one reward a completion, None where it has none; every term is logged.

        Terms go to TRL's metrics (means, `rlt/…`) and, one value a completion, into its table of sample completions.

        Raises:
            UserError: an empty solution, or a prompt other than `teacher_prompt` renders from the columns.
        """
        systems = {"teacher_system": teacher_system, "student_system": student_system}
        given = {name: column for name, column in systems.items() if column is not None}
        cases = [
            Case(str(i), question[i], solution[i], text, **{name: column[i] for name, column in given.items()})
            for i, text in enumerate(completions)
        ]
        if completion_ids is not None:
            cases = [self._as_sampled(case, ids) for case, ids in zip(cases, completion_ids, strict=True)]
        for case, prompt, expected in zip(cases, prompts, self.prompts(cases), strict=True):
            if not bare_solution(case.solution).strip():
                raise UserError(f"question {case.question[:80]!r}: the solution is empty; take the row out of the data")
            if prompt != expected:
                raise UserError(
                    f"question {case.question[:80]!r}: the prompt is not the text that teacher_prompt renders; "
                    "make the data set's prompts with it, and give its system message as the column teacher_system"
                )
        scored = self.score(cases)
        _log(scored, log_metric, log_extra)
        return [row.reward for row in scored]

    def _as_sampled(self, case: Case, ids: Sequence[int]) -> Case:
        """The case with the text of its sampled ids, specials kept, without the token that ended it."""
        configured = getattr(plain(self.teacher).generation_config, "eos_token_id", None)
        ends = {self.teacher_tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])}
        # A tag that is one token may be what ends a completion: it is text.
        if len(ids) and ids[-1] in ends and self.teacher_tokenizer.decode(ids[-1:]) != END_EXPLANATION:
            ids = ids[:-1]
        text = self.teacher_tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return replace(case, completion=text, sampled=tuple(ids))

    def _read(self, cases: Sequence[Case]) -> list[_Reading]:
        """Render both texts of every case, tokenise each once and find what is to be scored."""
        teacher_texts = [
            teacher_text(prompt, case.completion) for prompt, case in zip(self.prompts(cases), cases, strict=True)
        ]
        student_texts = [
            student_text(
                self.student_tokenizer,
                case.question,
                case.solution,
                split_completion(case.completion)[0],
                case.student_system,
            )
            for case in cases
        ]
        teacher_encodings = self._teacher_spans.encode([text.text for text in teacher_texts])
        student_encodings = self._student_spans.encode([text.text for text in student_texts])
        parts = zip(cases, teacher_texts, teacher_encodings, student_texts, student_encodings, strict=True)
        return [self._reading(*each) for each in parts]

    def _reading(
        self, case: Case, teacher_says: Text, teacher: Encoding, student_says: Text, student: Encoding
    ) -> _Reading:
        explanation, malformed = split_completion(case.completion)
        sides = [
            Side(encoding, explanation_span(encoding, text, self.score_blank), text.thought)
            for encoding, text in ((teacher, teacher_says), (student, student_says))
        ]
        solution = student.span(student_says.solution)
        scored = Scored(
            case.id,
            format=self.malformed_penalty if malformed else 0.0,
            length=sides[0].span[1] - sides[0].span[0],
            malformed=malformed,
            copied=copied_share(bare_solution(case.solution), explanation),
            teacher_explanation=sides[0].span,
            student_explanation=sides[1].span,
            student_solution=solution,
            retokenised=_retokenised(case, teacher, teacher_says),
        )
        reading = _Reading(*sides, solution, scored)
        overflow = self._overflow(reading)
        if not bare_solution(case.solution).strip():
            scored = replace(scored, error="the solution is empty")
        elif solution[0] == solution[1]:
            scored = replace(scored, error="no token of the student's tokenizer lies wholly inside the solution")
        elif overflow and self.on_overflow == "refuse":
            raise UserError(f"case {case.id}: {overflow}; shorten the case or choose to drop those that do not fit")
        elif overflow:
            scored = replace(scored, error=overflow, overflow=True)
        return replace(reading, scored=scored)

    def _overflow(self, reading: _Reading) -> str | None:
        """Say which model cannot read as far as the last token that is scored."""
        needed = {"student": (self.student, reading.solution[1]), "teacher": (self.teacher, reading.teacher.span[1])}
        for name, (model, tokens) in needed.items():
            limit = context_length(model)
            if limit is not None and tokens > limit:
                return f"the {name}'s context of {limit} tokens is shorter than its text of {tokens}"
        return None

    def _logprobs(self, model: torch.nn.Module, requests: list[Request]) -> list[torch.Tensor]:
        on_cpu = next(model.parameters()).device.type == "cpu"
        return token_logprobs(
            model,
            requests,
            temperature=self.temperature,
            batch_tokens=self.batch_tokens or (2048 if on_cpu else 16384),
            logit_bytes=self.logit_bytes or (2**23 if on_cpu else 2**30),
        )

    def _combine(self, reading: _Reading, teacher_E: torch.Tensor, student_K: torch.Tensor) -> Scored:
        """Put a case's terms together; student_K holds the explanation's tokens, then the solution's."""
        length = reading.student.span[1] - reading.student.span[0]
        student_E, solution_S = student_K[:length], student_K[length:]
        ss_mean, ss_min = float(solution_S.mean()), float(solution_S.min())
        pairs = pair_tokens(reading.teacher, reading.student, self.same_vocabulary)
        kl_mean, kl_max = _kl_terms(reading, pairs, teacher_E, student_E)
        r_ss = ss_mean + self.extreme_weight * ss_min
        r_kl = self.kl_weight * (kl_mean + self.extreme_weight * kl_max)
        reward = r_ss - r_kl + reading.scored.format
        if not math.isfinite(reward):
            return replace(reading.scored, error="a log-probability is not finite")
        return replace(
            reading.scored,
            reward=reward,
            r_ss=r_ss,
            ss_mean=ss_mean,
            ss_min=ss_min,
            r_kl=r_kl,
            kl_mean=kl_mean,
            kl_max=kl_max,
            by_token=all(b - a == d - c == 1 for (a, b), (c, d) in pairs) if pairs else None,
        )


def _kl_terms(
    reading: _Reading, pairs: list[tuple[Span, Span]], teacher_E: torch.Tensor, student_E: torch.Tensor
) -> tuple[float, float]:
    """Mean and maximum of d per teacher's token; 1 and 1 where there is nothing to compare."""
    if not pairs:
        return 1.0, 1.0
    bounds = torch.tensor(pairs) - torch.tensor([[reading.teacher.span[0]], [reading.student.span[0]]])
    sums_T, sums_S = (torch.cat([values.new_zeros(1), values.cumsum(0)]) for values in (teacher_E, student_E))
    d_P = sums_T[bounds[:, 0, 1]] - sums_T[bounds[:, 0, 0]] - sums_S[bounds[:, 1, 1]] + sums_S[bounds[:, 1, 0]]
    tokens_P = bounds[:, 0, 1] - bounds[:, 0, 0]
    return float(d_P.sum() / tokens_P.sum()), float((d_P / tokens_P).max())


def _request(encoding: Encoding, *spans: Span) -> Request:
    return Request(encoding.ids, [position for span in spans for position in range(*span)])


def _retokenised(case: Case, teacher: Encoding, text: Text) -> bool | None:
    if case.sampled is None:
        return None
    first = bisect_right(teacher.ends, text.explanation[0])
    return tuple(teacher.ids[first : first + len(case.sampled)]) != case.sampled


def _log(
    scored: list[Scored],
    log_metric: Callable[[str, float], None] | None,
    log_extra: Callable[[str, list], None] | None,
) -> None:
    """Hand TRL the terms: shares over all completions, means of the other terms over those that have them."""
    for name in LOGGED:
        values = [getattr(row, name) for row in scored]
        known = [float(value) for value in values if value is not None]
        if log_metric and known:
            log_metric(f"rlt/{name}", sum(known) / len(known))
        if log_extra:
            log_extra(name, values)
    if log_metric:
        log_metric("rlt/dropped", sum(row.overflow for row in scored) / len(scored))
        log_metric("rlt/unscored", sum(row.reward is None for row in scored) / len(scored))
