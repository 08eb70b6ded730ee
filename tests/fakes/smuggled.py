"""Owns bodies with something in them that nobody priced, and how the readers of servers would read what is sent.

A body is written member by member, so that a name may stand in it twice and in any letters.
"""

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

MARK = "smuggled"  # in every value that must go nowhere
TOO_MANY = 31_337  # the same of a number
PICTURE = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAAC0lEQVR4nGNgAAIAAAUAAXpeqz8AAAAASUVORK5CYII="
)

# Where callers write what they like: in a schema, in what a tool is called with, and in labels, any name is only text.
FREE = frozenset(
    """
    metadata logit_bias parameters schema input_schema input_examples output_schema arguments action annotations
    citations reasoning_details structured_outputs guided_json logprobs value variables
    """.split()  # noqa: SIM905  a list of words
)
CALLED = frozenset(("tool_use", "server_tool_use", "custom_tool_call"))  # whose `input` is free, too

# What servers have read beside what a dialect says, and what some of them may.
NAMES = tuple(
    """
    data_sources images image video documents document file_id file_ids files attachments chat_template
    chat_template_kwargs mm_processor_kwargs continue_final_message add_generation_prompt prefix_text context_items
    options extra_body extra generation_config generationConfig kwargs enable_search search_parameters
    web_search plugins mcp transforms route lora adapter_id use_beam_search num_beams candidate_count best_of_n
    min_new_tokens thinking_budget cache_salt cached_content priority x_of_another_day
    """.split()  # noqa: SIM905  a list of words
)
LIMITS = tuple(
    """
    max_new_tokens num_predict n_predict max_tokens_to_sample maxOutputTokens max_length max_gen_len MAX_TOKENS
    Max_Tokens max-tokens maxTokens MaxCompletionTokens max_completion-tokens
    """.split()  # noqa: SIM905  a list of words
)


class Members(list[tuple[str, Any]]):
    """An object, as its members are written."""


def members(value: Any) -> Any:
    """A JSON value, each object of it as Members."""
    if isinstance(value, dict):
        return Members((name, members(inner)) for name, inner in value.items())
    return [members(inner) for inner in value] if isinstance(value, list) else value


def written(value: Any, *, comma: str = ",", colon: str = ":", ascii_only: bool = True) -> str:
    """Such a value as JSON."""
    if isinstance(value, Members):
        inner = (
            (name if name.startswith('"') else json.dumps(name, ensure_ascii=ascii_only))
            + colon
            + written(one, comma=comma, colon=colon, ascii_only=ascii_only)
            for name, one in value
        )
        return "{" + comma.join(inner) + "}"
    if isinstance(value, list):
        each = (written(one, comma=comma, colon=colon, ascii_only=ascii_only) for one in value)
        return "[" + comma.join(each) + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


def objects(value: Any, *, top: bool = True) -> Iterator[Members]:
    """The objects of a body in which no name is free."""
    if isinstance(value, Members):
        yield value
        called = str(dict(value).get("type")) in CALLED
        for name, inner in value:
            free = name in FREE or (name == "output" and not _has_parts(inner))
            if not free and not (name == "input" and called and not top):
                yield from objects(inner, top=False)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner, top=False)


def _has_parts(output: Any) -> bool:
    """Whether a tool's result is one of parts. In any other shape it is a text, whatever it looks like."""
    if not isinstance(output, list) or isinstance(output, Members):
        return False
    return all(isinstance(one, Members) and isinstance(dict(one).get("type"), str) for one in output)


def _spelt(random: Random, name: str) -> str:
    """A name in other letters, as some reader would still take it for itself."""
    ways: tuple[Callable[[str], str], ...] = (
        str.upper,
        str.title,
        lambda name: name[:1].upper() + name[1:],
        lambda name: name.title().replace("_", ""),
        lambda name: name[:1] + name.title().replace("_", "")[1:],
        lambda name: name.replace("_", "-") if "_" in name else f"{name}_",
        lambda name: (
            name.replace("s", "\u017f").replace("k", "\u212a") if set(name) & {"s", "k"} else name.upper()
        ),
    )
    return random.choice(ways)(name)


def _escaped(name: str) -> str:
    """The name itself, with an escape for one of its letters: a string of JSON already."""
    return f'"\\u{ord(name[0]):04x}{name[1:]}"'


def smuggle(random: Random, body: dict[str, Any]) -> tuple[str, str]:
    """A body with one member more, somewhere in it; and of which kind that is: unlisted, spelt, twice or limit."""
    made = members(body)
    into = random.choice([one for one in objects(made) if one])
    kind = random.choice(("unlisted", "spelt", "twice", "limit"))
    names = [name for name, _ in into]
    value: Any = random.choice((MARK, [MARK], Members([("url", MARK)]), [Members([("text", MARK)])]))
    if kind == "limit":
        into, name, value = made, random.choice(LIMITS), TOO_MANY
    elif kind == "unlisted":
        name = random.choice(NAMES)
    else:
        name = random.choice(names)
        if kind == "spelt":
            spelt = _spelt(random, name)
            kind, name = ("twice", name) if spelt in names else (kind, spelt)
        if kind == "twice" and random.random() < 0.3:
            name = _escaped(name)
    into.insert(random.randrange(len(into) + 1), (name, value))
    comma, colon = random.choice(((",", ":"), (", ", ": "), (",\n  ", " : ")))
    return written(made, comma=comma, colon=colon, ascii_only=random.random() < 0.7), kind


def first(raw: bytes) -> Any:
    """What a reader makes of JSON to which the first of two names counts."""
    return json.loads(raw, object_pairs_hook=lambda pairs: dict(reversed(pairs)))


def last(raw: bytes) -> Any:
    """The same to which the last counts."""
    return json.loads(raw)


def blind(raw: bytes) -> Any:
    """The same that does not tell letters apart, nor what joins words."""
    return json.loads(raw, object_pairs_hook=lambda pairs: {bare(name): value for name, value in pairs})


def bare(name: str) -> str:
    """A name as a reader has it that does not tell letters apart."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def told_alike(raw: bytes) -> str:
    """Why the three readers may read different things of a body; "" if they cannot. Free names are let be."""
    for one in objects(json.loads(raw, object_pairs_hook=Members)):
        read = [bare(name) for name, _ in one]
        if len(set(read)) < len(read):
            return f"two names are alike: {sorted(name for name, _ in one)}"
    return ""
