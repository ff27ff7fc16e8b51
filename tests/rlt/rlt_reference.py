"""The reward once more, slowly and apart from the package: one text, one token, one formula at a time."""

import math
from itertools import pairwise

import torch

TAU, LAMBDA, EXTREME, PENALTY = 0.7, 3.0, 0.01, -1.0
END = "<|end_of_explanation|>"


def turns(own, system, question):
    """Everything before the assistant's words, as the two kinds of template write it."""
    if own:
        head = "" if system is None else system + "\n\n"
        return f"<|bos|><|user_start|>{head}{question}<|user_end|><|assistant_start|>"
    head = "" if system is None else f"<|im_start|>system\n{system}<|im_end|>\n"
    return f"{head}<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


def texts(own, case):
    """(text, thought, explanation, solution) of the teacher and of the student, places in characters."""
    explanation = case.completion.split(END)[0]
    whole = case.completion if END in case.completion else case.completion + END
    head = turns(own, case.teacher_system, case.question)
    head += f"<|begin_of_solution|>{case.solution}<|end_of_solution|>\n\n<|begin_of_explanation|>"
    at = len(head) + 2
    teacher = (head + "\n\n" + whole, len(head), (at, at + len(explanation)), None)
    head = turns(own, case.student_system, case.question) + "<|begin_of_thought|>"
    at = len(head) + 2
    middle = f"\n\n{explanation}<|end_of_thought|>\n\n<|begin_of_solution|>"
    solution = len(head + middle)
    end = "<|end_of_solution|>" + ("<|assistant_end|>" if own else "<|im_end|>\n")
    scored = len(case.solution.split("<|end_of_solution|>")[0])
    student = (
        head + middle + case.solution + end,
        len(head),
        (at, at + len(explanation)),
        (solution, solution + scored),
    )
    return teacher, student


def tokens(tokenizer, text):
    made = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return made["input_ids"], made["offset_mapping"]


def inside(offsets, first, last):
    """Positions of the tokens wholly inside the characters."""
    return [i for i, (a, b) in enumerate(offsets) if a >= first and b <= last]


def explained(offsets, thought, place, blank):
    """The explanation's tokens, with the blank line where no token straddles its beginning."""
    if place[0] == place[1]:
        return []
    straddles = any(a < thought < b for a, b in offsets)
    return inside(offsets, thought if blank and not straddles else place[0], place[1])


def logprobs(model, ids, positions):
    """log p of each token given all before it: whole logits, one softmax in float64."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double() / TAU
    logs = torch.log_softmax(logits, -1)
    return [float(logs[i - 1, ids[i]]) for i in positions]


def score(teacher, teacher_tokenizer, student, student_tokenizer, case, blank=True):
    """Every term of one case."""
    own = [tokenizer.bos_token is not None for tokenizer in (teacher_tokenizer, student_tokenizer)]
    text_t, thought_t, place_t, _ = texts(own[0], case)[0]
    text_s, thought_s, place_s, solution = texts(own[1], case)[1]
    (ids_t, offsets_t), (ids_s, offsets_s) = tokens(teacher_tokenizer, text_t), tokens(student_tokenizer, text_s)
    e_t, e_s = explained(offsets_t, thought_t, place_t, blank), explained(offsets_s, thought_s, place_s, blank)
    log_t, log_s = logprobs(teacher, ids_t, e_t), logprobs(student, ids_s, e_s)
    log_solution = logprobs(student, ids_s, inside(offsets_s, *solution))
    ss_mean, ss_min = sum(log_solution) / len(log_solution), min(log_solution)
    if not e_t:
        kl_mean = kl_max = 1.0
    elif [ids_t[i] for i in e_t] == [ids_s[i] for i in e_s]:
        d = [a - b for a, b in zip(log_t, log_s, strict=True)]
        kl_mean, kl_max = sum(d) / len(d), max(d)
    else:
        kl_mean, kl_max = stretched(cuts(offsets_t, e_t, thought_t, log_t), cuts(offsets_s, e_s, thought_s, log_s))
    r_ss, r_kl = ss_mean + EXTREME * ss_min, LAMBDA * (kl_mean + EXTREME * kl_max)
    penalty = 0.0 if END in case.completion else PENALTY
    found = {"r_ss": r_ss, "ss_mean": ss_mean, "ss_min": ss_min, "r_kl": r_kl, "kl_mean": kl_mean, "kl_max": kl_max}
    return {**found, "format": penalty, "reward": r_ss - r_kl + penalty, "length": len(e_t)}


def cuts(offsets, positions, thought, logs):
    """{character after the thought's beginning: (tokens so far, log-probability so far)} at every clean boundary."""
    found, total = {offsets[positions[0]][0] - thought: (0, 0.0)}, 0.0
    for count, (i, log) in enumerate(zip(positions, logs, strict=True), start=1):
        total += log
        if count == len(positions) or offsets[i + 1][0] >= offsets[i][1]:
            found[offsets[i][1] - thought] = (count, total)
    return found


def stretched(cuts_t, cuts_s):
    """Mean and maximum of d per teacher's token over the stretches that both tokenisations cut out."""
    common = sorted(set(cuts_t) & set(cuts_s))
    worst, total, count = -math.inf, 0.0, 0
    for a, b in pairwise(common):
        own = cuts_t[b][0] - cuts_t[a][0]
        d = cuts_t[b][1] - cuts_t[a][1] - cuts_s[b][1] + cuts_s[a][1]
        worst, total, count = max(worst, d / own), total + d, count + own
    return total / count, worst
