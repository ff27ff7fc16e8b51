import pytest

from genesis.prepare.quality import fingerprint, leaks, main_language, near_duplicates, secrets


def changed(text: str, places: list[int]) -> str:
    """The text with some of its words replaced."""
    words = text.split()
    for place in places:
        words[place] = f"other{place}"
    return " ".join(words)


def similarity(a: str, b: str) -> float:
    """Jaccard similarity of the word 3-grams, counted exactly."""
    one, two = ({tuple(words[k : k + 3]) for k in range(len(words) - 2)} for words in (a.split(), b.split()))
    return len(one & two) / len(one | two)


def test_the_fingerprint_ignores_case_and_white_space_only():
    assert fingerprint(" Two  Words\n") == fingerprint("two words") != fingerprint("two, words")


@pytest.mark.parametrize("threshold", [0.6, 0.8, 0.9])
def test_planted_copies_are_found_whatever_the_threshold_and_different_texts_are_not(text, threshold):
    originals = [text(k, 100) for k in range(60)]
    copies = [changed(original, [99]) for original in originals]
    assert min(map(similarity, originals, copies)) > 0.97
    assert near_duplicates([*originals, *copies], threshold) == [None] * 60 + list(range(60))
    distant = [changed(original, range(0, 100, 6)) for original in originals]
    assert max(map(similarity, originals, distant)) < 0.4
    assert near_duplicates([*originals, *distant], threshold) == [None] * 120


def test_a_copy_just_above_the_threshold_is_rarely_missed(text):
    originals = [text(k, 100) for k in range(200)]
    copies = [changed(original, [20, 60]) for original in originals]
    assert similarity(originals[0], copies[0]) == pytest.approx(0.885, abs=0.01)
    missed = near_duplicates([*originals, *copies], 0.85)[200:].count(None)
    assert missed < 30  # the signature's error alone; coarse bands would miss half


def test_leaks_name_every_training_row_a_held_out_row_equals(text):
    train = [text(k) for k in range(10)]
    train.append(changed(train[3], [0]))
    test = [text(50), train[3].upper(), changed(train[7], [59]), text(51)]
    assert leaks(train, test, 0.8) == [(1, 3), (1, 10), (2, 7)]
    assert leaks(train, [], 0.8) == leaks([], test, 0.8) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("the key is AKIAIOSFODNN7EXAMPLE, keep it", "AWS Access Key"),
        ("write to jane.doe+shop@mail.example.org today", "e-mail address"),
        ("paid with 4111 1111 1111 1111.", "card number"),
        ("paid with 4111-1111-1111-1111", "card number"),
        ("paid with 4111111111111111, thanks", "card number"),
        ("my Amex is 3782 822463 10005", "card number"),
        ("ring +49 (0)30 1234 5678 now", "telephone number"),
        ("SSN 123-45-6789", "social security number"),
        ("-----BEGIN RSA PRIVATE KEY-----", "Private Key"),
    ],
)
def test_a_secret_is_found(text, kind):
    assert kind in secrets(text)


@pytest.mark.parametrize(
    "text",
    [
        "Sort these: 3 5 1 4 2 9 8 7 6 0 1 2 3 and say which is the median",
        "order 4111111111111112 of 2024-01-15, 10:30 to 11:45",
        "timestamp 1700000000001, parcel 00340434161094042557",
        "the password is in the safe; user@host is not an address",
    ],
)
def test_what_only_looks_like_one_is_not(text):
    assert secrets(text) == []


def test_the_language_of_many_short_texts_is_told():
    assert main_language(["Where is my parcel?", "I would like a refund", "The lamp arrived broken"]) == "en"
    assert main_language(["Wo ist mein Paket?", "Ich möchte mein Geld zurück", "Die Lampe kam kaputt an"]) == "de"
