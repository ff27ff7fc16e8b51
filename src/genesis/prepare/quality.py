"""Checks that every data stage shares: duplicates, leakage between splits, secrets, language."""

import re
from collections.abc import Iterable, Sequence
from functools import cache

import xxhash
from rensa import RMinHash, RMinHashLSH

PERMUTATIONS = 128
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"\w+")
_CARD = re.compile(r"(?<![\w.-])(?:\d{4}([ -]?)\d{4}\1\d{4}\1\d{1,4}|3\d{3}([ -]?)\d{6}\2\d{5})(?![\w-])")
PII = {
    "e-mail address": re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]{2,}\b"),
    "telephone number": re.compile(r"(?<!\w)\+(?:[ ()-]{0,2}\d){8,15}\b"),
    "social security number": re.compile(r"\b\d{3}-\d{2}-\d{4}\b"),
}


def fingerprint(text: str) -> int:
    """Hash of a text with case and white space levelled: equal for exact duplicates."""
    return xxhash.xxh3_64_intdigest(_SPACE.sub(" ", text).strip().lower().encode("utf-8", "surrogatepass"))


def near_duplicates(texts: Sequence[str], threshold: float) -> list[int | None]:
    """For each text, the index of an earlier one whose word 3-grams are at least `threshold` alike (Jaccard), or None.

    MinHash by rensa with 128 permutations; candidates from LSH bands are verified on the full signatures.
    """
    lsh = RMinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, num_bands=_bands(threshold))
    signatures = _signatures(texts)
    result: list[int | None] = []
    for index, signature in enumerate(signatures):
        alike = [k for k in lsh.query(signature) if signature.jaccard(signatures[k]) >= threshold]
        result.append(min(alike) if alike else None)
        if not alike:
            lsh.insert(index, signature)
    return result


def leaks(train: Sequence[str], test: Sequence[str], threshold: float) -> list[tuple[int, int]]:
    """All pairs (test index, train index) whose word 3-grams are at least `threshold` alike, equal texts included."""
    lsh = RMinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, num_bands=_bands(threshold))
    known = _signatures(train)
    lsh.insert_many(known)
    return [
        (index, match)
        for index, signature in enumerate(_signatures(test))
        for match in sorted(lsh.query(signature))
        if signature.jaccard(known[match]) >= threshold
    ]


def secrets(text: str) -> list[str]:
    """Names of the secrets and personal data found in a text (detect-secrets' plugins and a few patterns)."""
    found = [name for name, pattern in PII.items() if pattern.search(text)]
    if any(_luhn(match[0]) for match in _CARD.finditer(text)):
        found.append("card number")
    return found + [plugin.secret_type for plugin in _secret_plugins() if any(plugin.analyze_string(text))]


def main_language(texts: Iterable[str], most: int = 200) -> str:
    """The language of the first texts taken together (ISO 639-1): single short prompts are too short to tell."""
    import py3langid

    return py3langid.classify("\n".join(list(texts)[:most]))[0]


def language_report(section: str, noun: str, texts: Iterable[str], expected: str) -> dict[str, str | list[str]]:
    """The texts' language and a flag (also printed) where it is not the expected one; "" expects nothing."""
    language = main_language(texts) if expected else ""
    flags = [] if language == expected else [f"the {noun} look like '{language}', expected '{expected}'"]
    for flag in flags:
        print(f"{section}: {flag}")
    return {"language": language, "flags": flags}


@cache
def _secret_plugins() -> list:
    """detect-secrets' detectors of known formats; the entropy ones take any long identifier for a secret."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.plugins.high_entropy_strings import HighEntropyStringsPlugin
    from detect_secrets.plugins.ip_public import IPPublicDetector
    from detect_secrets.plugins.keyword import KeywordDetector

    left_out = (HighEntropyStringsPlugin, KeywordDetector, IPPublicDetector)
    return [kind() for kind in get_mapping_from_secret_type_to_class().values() if not issubclass(kind, left_out)]


def _luhn(number: str) -> bool:
    """The check digit fits (ISO/IEC 7812-1): true of every card number and of one in ten others."""
    digits = [int(sign) for sign in reversed(number) if sign.isdigit()]
    return sum(digits[::2]) % 10 == -sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2]) % 10


def _signatures(texts: Sequence[str]) -> list[RMinHash]:
    return RMinHash.from_token_sets([_shingles(text) for text in texts], PERMUTATIONS, 0)


def _shingles(text: str) -> list[str]:
    words = _WORD.findall(text.lower())
    return [" ".join(words[k : k + 3]) for k in range(max(1, len(words) - 2))]


def _bands(threshold: float) -> int:
    """The fewest bands that miss at most one pair in a hundred at the threshold; false candidates only cost time."""
    options = (bands for bands in (4, 8, 16, 32, 64) if (1 - threshold ** (PERMUTATIONS / bands)) ** bands <= 0.01)
    return next(options, PERMUTATIONS)
