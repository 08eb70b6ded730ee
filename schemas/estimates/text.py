"""Owns the weighing of a text: its likely tokens, and what they are made of."""

from bisect import bisect_right
from collections import Counter
from typing import Final

from msgspec import Struct

from schemas.estimates import table

_STARTS: Final = [start for start, _, _ in table.SCRIPTS]
_SMALL: Final = "abcdefghijklmnopqrstuvwxyz"


class Weight(Struct, frozen=True):
    """A text's likely tokens, and by sort of text how many of them: words, digits, signs, each script."""

    tokens: float
    sorts: dict[str, float]
    words: int  # of ASCII letters


def weigh(text: str) -> Weight:
    """The weight of a text. Some 0.5 ms for each KB: callers sample."""
    sorts: dict[str, float] = {}
    text = _without_random(_without_repeated(text, sorts), sorts)
    small = text.lower()
    if not text.isascii():
        text = _without_accented(text, sorts)
        _add_others(text, sorts)
    words = _add_words(text, small, sorts)
    digits = table.DIGITS.findall(text)
    groups = sum(-(-len(run) // 3) for run in digits)
    sorts["digits"] = groups * table.DIGIT_GROUP + len(digits) * table.DIGIT_RUN
    sorts["space"] = _space(text)
    sorts["controls"] = len(table.CONTROLS.findall(text)) * table.CONTROL
    signs = table.SIGNS.findall(text)
    further = sum(map(len, signs)) - len(signs)
    apart = len(signs) - len(table.LEADING_SIGN.findall(text))
    sorts["signs"] = apart * table.SIGN_RUN + further * table.FURTHER_SIGN
    return Weight(sum(sorts.values()), {sort: tokens for sort, tokens in sorts.items() if tokens}, words)


def _space(text: str) -> float:
    lines, indents = table.LINES.findall(text), table.INDENTS.findall(text)
    further_lines = sum(map(len, lines)) - len(lines)
    further_spaces = sum(map(len, indents)) - len(indents)
    return (
        len(lines) * table.LINE_BREAKS
        + further_lines * table.FURTHER_LINE_BREAK
        + len(indents) * table.INDENT
        + further_spaces * table.FURTHER_SPACE
    )


def _without_repeated(text: str, sorts: dict[str, float]) -> str:
    """The text without rulers and the like, of which a token holds many."""
    for run in table.REPEATED.finditer(text):
        each = table.REPEATED_LETTER if run.group(1).isalpha() else table.REPEATED_SIGN
        sorts["repeated"] = sorts.get("repeated", 1.0) + len(run.group()) * each
    return table.REPEATED.sub(" ", text) if "repeated" in sorts else text


def _without_random(text: str, sorts: dict[str, float]) -> str:
    """The text without its runs of base64, hex and ids, which are no words of any language."""
    left: list[str] = []
    end = 0
    for run in table.RANDOM.finditer(text):
        found = run.group()
        letters = sum(map(str.isalpha, found))
        if letters < table.RANDOM_LETTERS or sum(map(str.isdigit, found)) < table.RANDOM_DIGITS:
            continue
        if table.HEX.fullmatch(found):
            sorts["hex"] = sorts.get("hex", 0.0) + len(found) * table.HEX_CHAR
        else:
            sorts["random"] = sorts.get("random", 0.0) + len(found) * table.RANDOM_CHAR
        left += (text[end : run.start()], " ")
        end = run.end()
    return "".join((*left, text[end:])) if left else text


def _without_accented(text: str, sorts: dict[str, float]) -> str:
    words = table.ACCENTED.findall(text)
    if not words:
        return text
    sorts["accented"] = len(words) * table.ACCENTED_WORD + sum(map(len, words)) * table.ACCENTED_CHAR
    _add_chars(Counter("".join(words)), sorts)
    return table.ACCENTED.sub(" ", text)


def _add_others(text: str, sorts: dict[str, float]) -> None:
    _add_chars(Counter(text), sorts)
    words = len(table.OTHER_WORD.findall(text))
    if words:
        sorts["other words"] = words * table.PER_OTHER_WORD
    if "drawn" in sorts:
        sorts["drawn"] += sum(1 for _ in table.DRAWN.finditer(text)) * table.PER_DRAWN


def _add_chars(chars: Counter[str], sorts: dict[str, float]) -> None:
    for char, count in chars.items():
        if char >= "\x80":
            _, script, tokens = table.SCRIPTS[bisect_right(_STARTS, ord(char)) - 1]
            sorts[script] = sorts.get(script, 0.0) + count * tokens


def _add_words(text: str, small: str, sorts: dict[str, float]) -> int:
    """The words of ASCII in a text, by their lengths and by the letters of all its words, accented ones too."""
    words = table.WORD.findall(text)
    if not words:
        return 0
    tokens = len(words) * table.PER_WORD
    lengths = Counter(map(len, words))
    tokens += table.LONG_CHAR * sum(
        (length - table.WORD_CHARS) * count for length, count in lengths.items() if length > table.WORD_CHARS
    )
    tokens += table.CAPITAL * sum(
        len(word) - table.CAPITALS for word in words if len(word) > table.CAPITALS and word.isupper()
    )
    tokens += table.CONSONANT * sum(map(len, table.CONSONANTS.findall(text)))
    letters = sum(small.count(letter) * table.LETTERS[letter] for letter in _SMALL)
    further = sum(map(len, words)) - len(words)
    most = len(words) + further * table.FURTHER_LETTER_MAX
    sorts["words"] = min(max(tokens + letters, tokens * table.WORDS_MIN), most)
    return len(words)
