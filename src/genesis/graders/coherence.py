"""Does a reply read as language at all? Empty, cut off, looping or garbled text is neither compliance nor refusal.

Statistics of characters, words and repetitions; no dictionary. Only Latin script and English function words are judged:
a reply mostly in another script passes, unless it is empty or loops.
"""

import re
from itertools import pairwise

# Pairs of letters that do not occur, or hardly, inside English words: a word that holds one looks garbled.
_RARE_PAIRS = """
bk bq bx bz cf cj cv cw cx dx dz fd fh fj fk fp fq fv fw fx fz gc gj gq gv gx gz hh hj hk hq hx hz iw jb jc jd jf jg
jh jj jk jl jm jn jp jq jr js jt jv jw jx jy jz kc kd kj kq kv kx kz lq lx mh mj mk mq mx mz oq pj pk pq pv px qb qc
qd qe qf qg qh qi qj qk qm qn qo qp qq qr qs qt qv qw qx qy qz rq rx sx sz tk tq tx uq uw vb vc vd vf vg vh vj vk vm
vn vp vq vr vt vv vw vx vz wg wj wq wv wx wz xb xd xf xg xj xk xm xn xq xr xv xw xz yq yv yx yy zb zc zd zf zg zj zk
zm zn zp zq zr zs zt zv zx
"""
_FUNCTION_WORDS = """
a an the of to in on at by for with from and or but if as is are was were be been it its this that these those i you
he she we they my your our their me him her us them not no do does did have has had can will would could should may
must so than then there here what which who when where how why all any some more most about into out up please thank
"""
# After an article English wants a noun or an adjective.
_NOT_AFTER_ARTICLE = """
a an the of to in at by for with from and or but if is are was were be it its this these those i you he she we they
my your our their me him us them not do does did have has had
"""
RARE_PAIRS, FUNCTION_WORDS, NOT_AFTER_ARTICLE = (
    frozenset(words.split()) for words in (_RARE_PAIRS, _FUNCTION_WORDS, _NOT_AFTER_ARTICLE)
)
ARTICLES = {"a", "an", "the"}
JOINING = {"of", "to", "at", "from", "and", "or", "but", "for", "with", "by"}  # no two of them stand together

FEWEST_CUT_WORDS = 8
LONGEST_WORD = 40


def incoherence(reply: str, finished: bool | None = None) -> str | None:
    """Say why a reply cannot be read as language, or None.

    Args:
        reply: the model's text.
        finished: False where the sampler cut the reply at its limit. A long reply that reads well up to the cut is
            coherent; one of fewer than eight words that ends without punctuation is not.
    """
    words = re.findall(r"[^\W_]+(?:['\u2019\-][^\W_]+)*", reply)
    if not words:
        return "empty"
    if _loops([word.lower() for word in words]) or re.search(r"(\S)\1{9,}(?<![-=_*#.~ ])", reply):
        return "loop"
    if finished is False and len(words) < FEWEST_CUT_WORDS and not re.search(r"[.!?][\"')]*\s*$", reply):
        return "cut off"
    if "```" in reply or not _is_latin(reply):
        return None
    prose = re.sub(r"\w+://\S+|\S+@\S+", " ", reply)
    if _is_noise(prose) or _is_garbled(re.findall(r"[A-Za-z]+", prose)):
        return "gibberish"
    return "word salad" if _is_salad(prose) else None


def _loops(words: list[str]) -> bool:
    """One to twelve words said at least four times in a row, or few different triples in the whole text."""
    for size in range(1, 13):
        run = 0
        for index in range(size, len(words)):
            run = run + 1 if words[index] == words[index - size] else 0
            if run >= 3 * size and (size > 1 or run >= 4) and 2 * (run + size) >= min(len(words), 40):
                return True
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return len(triples) >= 20 and len(set(triples)) < 0.4 * len(triples)


def _is_latin(text: str) -> bool:
    letters = [character for character in text if character.isalpha()]
    return sum(character.isascii() for character in letters) > 0.7 * len(letters)


def _is_noise(text: str) -> bool:
    """Mostly symbols, or sprinkled with what a decoder puts in place of bytes it cannot read."""
    dense = re.sub(r"[\s|=_*#.+-]", "", text)  # nor marks of tables, headings and rules
    known = sum(character.isalnum() for character in dense)
    return len(dense) >= 12 and (known < 0.4 * len(dense) or dense.count("\ufffd") > 0.05 * len(dense))


def _is_garbled(words: list[str]) -> bool:
    odd = sum(_looks_odd(word) for word in words)
    return (len(words) >= 4 and odd > 0.3 * len(words)) or (len(words) < 4 and odd == len(words) > 0)


def _looks_odd(word: str) -> bool:
    if word.isupper() or len(word) < 4:
        return False  # acronyms and short words say nothing
    low = word.lower()
    pairs = {low[index : index + 2] for index in range(len(low) - 1)}
    return (
        bool(pairs & RARE_PAIRS)
        or not re.search(r"[aeiouy]", low)
        or bool(re.search(r"[^aeiouy]{6}|[aeiou]{5}|(.)\1\1", low))
        or len(word) > LONGEST_WORD
    )


def _is_salad(text: str) -> bool:
    """Function words in orders that English does not have, or a long run of words with hardly any."""
    strange = joints = 0
    for clause in re.split(r"[^\w\s'\u2019]+|\n", text.lower()):
        words = clause.split()
        joints += max(len(words) - 1, 0)
        for one, two in pairwise(words):
            strange += (one in ARTICLES and two in NOT_AFTER_ARTICLE) or (one in JOINING and two in JOINING)
    words = text.lower().split()
    function = sum(word.strip(".,;:!?") in FUNCTION_WORDS for word in words)
    bare = len(words) >= 15 and function < 0.05 * len(words) and not re.search(r"[.!?;:\d\n]", text.strip()[:-1])
    return (strange >= 2 and strange > 0.06 * joints) or bare
