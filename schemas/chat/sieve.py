"""Owns how the objects of a body are held to lists of names, at any depth: what no list has goes no further, and is named.

So nothing goes on that was not read: of an object one value a name, and no name that a reader might take for another.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NoReturn

import msgspec
from msgspec import Raw, Struct

from schemas.asked import Fields
from schemas.chat.priced import RequestError
from schemas.errors import invalid
from schemas.json import UNREADABLE
from schemas.names import any_meant, by_fold, is_plain, meant, twice

LEVELS_MAX: Final = 32  # of listed objects and lists in one another
EACH_BYTES_MAX: Final = 256 * 1024  # of objects that are read at once: longer ones would be copied too often
OBJECTS_MAX: Final = 100_000  # that are looked at: each takes a step of the loop
NAMED_MAX: Final = 64  # names of what was dropped: a header has room for no more
NAME_CHARS_MAX: Final = 64

# What may stand under a name: anything, which is priced by its bytes; one object; many of them; or either. What is no
# object is let pass, but for a list in place of an object, and an object in place of a list.
Names = Mapping[str, "Inner"]


class Typed(Struct, frozen=True):
    """Objects whose names depend on their `type`: some server may go by the names alone, and so read a second thing."""

    kinds: Mapping[str, Names]
    other: Names  # of a type that is not among these, or of none

    def names(self, fields: Fields) -> Names:
        """The list of one object. Raises one of UNREADABLE."""
        raw = fields.get("type")
        if raw is None or memoryview(raw)[0] != _TEXT:
            return self.other
        return self.kinds.get(_decode_text(raw), self.other)

    def groups(self, items: Sequence[Fields]) -> Collection[tuple[Names, list[Fields]]]:
        """Objects by their list. Raises one of UNREADABLE."""
        found: dict[int, tuple[Names, list[Fields]]] = {}
        for item in items:
            names = self.names(item)
            found.setdefault(id(names), (names, []))[1].append(item)
        return found.values()


Form = Names | Typed
Holder = Form | list[Form] | tuple[Form]
Inner = Holder | None

Refuse = Callable[[str, str, str], NoReturn]  # takes where it is, why it is refused, and the code
Place = tuple[str | int, ...]

_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_maps = msgspec.json.Decoder(list[dict[str, Raw]]).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode
_UNLISTED: Final[Any] = object()
_OBJECT: Final = ord("{")
_LIST: Final = ord("[")
_TEXT: Final = ord('"')
_NULL: Final = ord("n")
_HOLDING: Final = b"{["
_MANY: Final = (list, tuple)  # a union would be made anew each time that it is asked for


def _is_clean(raws: Sequence[Raw], form: Holder, level: int) -> bool:
    """Whether nothing is wrong with any of some values of one form: most bodies, found out in few steps.

    All are read at once, as one list, and so are those within them that have a form in common. False if that is not
    certain: then they are gone through one by one.
    """
    joined = _joined(raws, form)
    if joined is None or level > LEVELS_MAX:
        return False
    try:
        items = _decode_maps(joined)
    except msgspec.ValidationError:  # not objects alone
        return False
    if len(items) > OBJECTS_MAX or len(joined) > max(1, len(items)) * EACH_BYTES_MAX:
        return False
    if not is_plain(joined, items, listed=True):
        return False
    among = form[0] if isinstance(form, _MANY) else form
    holds = joined.find(b"[", 1) > 0 or joined.count(b"{") > len(items)  # or some text has one
    inner: dict[int, tuple[Holder, list[Raw]]] = {}
    for names, alike in among.groups(items) if isinstance(among, Typed) else ((among, items),):
        found = set().union(*alike)
        if not found <= names.keys():
            return False
        for name in found if holds else ():
            if (held := names[name]) is not None:
                values = [item[name] for item in alike if name in item]
                holding = [value for value in values if memoryview(value)[0] in _HOLDING]
                inner.setdefault(id(held), (held, []))[1].extend(holding)
    return all(not values or _is_clean(values, held, level + 1) for held, values in inner.values())


def _joined(raws: Sequence[Raw], form: Holder) -> bytes | None:
    """Objects, and those in lists, as one list; None where one stands in the other's place."""
    if len(raws) == 1 and isinstance(form, _MANY) and memoryview(raws[0])[0] == _LIST:
        return bytes(raws[0])
    pieces: list[bytes] = []
    for raw in raws:
        piece = bytes(raw)
        if piece[0] == _LIST:
            if not isinstance(form, _MANY):
                return None
            piece = piece[1:-1]
        elif isinstance(form, list):
            return None
        if piece:
            pieces.append(piece)
    return b"[%b]" % b",".join(pieces)


class Sieve:
    """Goes through one body. `dropped` are the places of what was left out, at most NAMED_MAX.

    `refuse` raises what the caller gets. A place is told as OpenAI's errors have it, or `dotted` as Anthropic's.
    """

    def __init__(self, refuse: Refuse, *, dotted: bool = False) -> None:
        self.dropped: list[str] = []
        self._refuse = refuse
        self._dotted = dotted
        self._objects = 0
        self._folds: dict[int, dict[str, str]] = {}  # by list of names, which all outlive this

    def sift(self, fields: Fields, forms: Names) -> None:
        """Makes of a body's fields, in place, those that go on. Values without anything unlisted stay byte for byte."""
        try:
            for name, raw in fields.items():
                form = forms.get(name)
                if form is None or memoryview(raw)[0] not in _HOLDING or _is_clean((raw,), form, 0):
                    continue
                fields[name] = self._value(raw, form, (name,), 0)
        except UNREADABLE:
            self._refuse("", "it cannot be read as JSON", "invalid_value")

    def _value(self, raw: Raw, form: Holder, place: Place, level: int) -> Raw:
        """A value that is an object or a list."""
        if memoryview(raw)[0] == _OBJECT:
            if isinstance(form, list):
                self._fail(place, "it must be an array", "invalid_type")
            one = form[0] if isinstance(form, tuple) else form
            return self._object(raw, one, place, level)
        if not isinstance(form, _MANY):
            self._fail(place, "it must be an object", "invalid_type")
        return self._list(raw, form[0], place, level)

    def _list(self, raw: Raw, form: Form, place: Place, level: int) -> Raw:
        try:
            items = _decode_maps(raw)
        except msgspec.ValidationError:  # not objects alone
            return self._one_by_one(raw, form, place, level)
        if not is_plain(raw, items, listed=True):
            return self._one_by_one(raw, form, place, level)
        self._count(len(items), place, level)
        changed = False
        for index, item in enumerate(items):
            names = form.names(item) if isinstance(form, Typed) else form
            changed = self._names(item, names, (*place, index), level) or changed
        return Raw(_encode(items)) if changed else raw

    def _one_by_one(self, raw: Raw, form: Form, place: Place, level: int) -> Raw:
        items = _decode_list(raw)
        changed = False
        for index, item in enumerate(items):
            begins = memoryview(item)[0]
            if begins == _LIST:
                self._fail((*place, index), "it must be no array", "invalid_type")
            if begins == _OBJECT and (made := self._object(item, form, (*place, index), level)) is not item:
                items[index] = made
                changed = True
        return Raw(_encode(items)) if changed else raw

    def _object(self, raw: Raw, form: Form, place: Place, level: int) -> Raw:
        fields = _decode_map(raw)
        plain = is_plain(raw, (fields,))
        if not plain and (name := twice(raw)) is not None:
            self._fail((*place, name), "it is there twice: send it once", "invalid_value")
        self._count(1, place, level)
        names = form.names(fields) if isinstance(form, Typed) else form
        changed = self._names(fields, names, place, level)
        return raw if plain and not changed else Raw(_encode(fields))

    def _count(self, more: int, place: Place, level: int) -> None:
        self._objects += more
        if level > LEVELS_MAX:
            self._fail(place, "it is nested too deeply", "invalid_value")
        if self._objects > OBJECTS_MAX:
            self._fail(place, f"at most {OBJECTS_MAX} objects are read", "invalid_value")

    def _names(self, fields: Fields, form: Names, place: Place, level: int) -> bool:
        """Makes of an object's fields, in place, those that go on. Whether any of them changed."""
        changed = False
        unlisted: list[str] = []
        for name, value in fields.items():
            inner = form.get(name, _UNLISTED)
            if inner is None:
                continue
            if inner is _UNLISTED:
                unlisted.append(name)
            elif memoryview(value)[0] in _HOLDING:
                made = self._value(value, inner, (*place, name), level + 1)
                if made is not value:
                    fields[name] = made
                    changed = True
        if unlisted:
            self._drop(fields, unlisted, form, place)
        return changed or bool(unlisted)

    def _drop(self, fields: Fields, unlisted: list[str], form: Names, place: Place) -> None:
        folds = self._folds.get(id(form))
        if folds is None:  # once for each list: a body may have a hundred thousand unlisted names
            folds = self._folds[id(form)] = by_fold(form)
        if any_meant(unlisted, folds):
            for name in unlisted:
                if known := meant(name, form, folds):
                    self._fail((*place, name), f"write '{known}'", "unknown_parameter")
        for name in unlisted:
            if len(self.dropped) < NAMED_MAX and memoryview(fields[name])[0] != _NULL:
                self.dropped.append(self._told((*place, name)))
            del fields[name]

    def _told(self, place: Place) -> str:
        told = ""
        for step in place:
            if isinstance(step, int):
                told += f".{step}" if self._dotted else f"[{step}]"
            elif step:
                told += f".{step[:NAME_CHARS_MAX]}" if told else step
        return told

    def _fail(self, place: Place, why: str, code: str) -> NoReturn:
        self._refuse(self._told(place), why, code)


def sifted(fields: Fields, forms: Names) -> tuple[str, ...]:
    """Makes of a body's fields, in place, those that go on; the places of what was left out. Raises RequestError 400."""
    sieve = Sieve(_refuse)
    sieve.sift(fields, forms)
    return tuple(sieve.dropped)


def _refuse(place: str, why: str, code: str) -> NoReturn:
    shown = f"Invalid '{place}'" if place else "The JSON body of your request cannot be used"
    raise RequestError(invalid(f"{shown}: {why}.", param=place or None, code=code))
