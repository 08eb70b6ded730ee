"""Owns what is priced in a request, in the one form in which every dialect says it."""

from msgspec import Raw, Struct

Fields = dict[str, Raw]  # a body's top level, in the caller's order, its values untouched


class Ask(Struct, frozen=True, kw_only=True):
    """What a body asks for, whatever its model is. Limits are tokens of output per choice."""

    candidates: tuple[str, ...]  # the names that the caller wrote, the one wanted most first and none twice
    stream: bool
    include_usage: bool  # of a stream
    include_cost: bool
    inputs: int  # prompts, each of which has a context of its own
    choices: int  # in all: inputs x max(n, best_of)
    limit: int | None  # None if the caller set none and an absent one means nothing
    limit_set: bool  # False where `limit` is what an absent one means
    limit_name: str = "max_tokens"  # what a caller calls it
    floor: int = 1  # the least limit that may be granted where an upstream has one
    dropped: tuple[str, ...] = ()  # names that the body has and that go no further, unless a pool adds them
    keeps: bool = False  # what is answered may be referred to afterwards
    references: tuple[
        str, ...
    ] = ()  # ids of items of earlier answers, with marks that are still to be verified

    @property
    def model(self) -> str:
        """The model wanted most."""
        return self.candidates[0]


class Document(Struct, frozen=True):
    """A PDF of a body whose pages bound its prompt: where it stands, and its text, base64 from `start` on."""

    param: str
    data: str
    start: int


class Seen(Struct, frozen=True, kw_only=True):
    """What is known of the media of a body beside the body itself."""

    pages: dict[str, int] = {}  # of its documents, by `param`; one that is missing was not counted
    caps_only: bool = False  # the model was seen to bill more than its formulas say: each counts the most


NOTHING_SEEN = Seen()
CAPS_ONLY = Seen(caps_only=True)


class Bound(Struct, frozen=True, kw_only=True):
    """What a hold is priced from. `text_bytes` are those of the prompt without its media, for estimates."""

    prompt_max: int  # tokens, the sum over all inputs
    text_bytes: int
    limit: int | None  # at most the model's own
    inputs_max: tuple[int, ...] = ()  # for later: tokens of each input, where what is answered hangs on them
    media_tokens: int = 0  # what its media likely counts, for estimates; 0 without any
    documents: tuple[Document, ...] = ()  # whose pages would make a smaller bound, if they were counted
    uplifts: tuple[str, ...] = ()  # the service tier, region and speed that are asked for, beside the default
    dropped: tuple[str, ...] = ()  # names that go no further with this model, beside those of the `Ask`
    kept: tuple[str, ...] = ()  # of those of the `Ask`: names that the model's pool adds, so that they go on
    classes: frozenset[str] | None = None  # for later: price classes in reach; None is every one of the model
