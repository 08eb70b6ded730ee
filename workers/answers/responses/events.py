"""Owns the events of one Responses stream: their form and their numbers; of a plain answer there are none."""

import msgspec

encode = msgspec.json.Encoder().encode


class Events:
    """Numbers events from 0. `plain` makes every event b""."""

    __slots__ = ("number", "plain")

    def __init__(self, *, plain: bool) -> None:
        self.plain = plain
        self.number = 0  # of the next one

    def event(self, name: bytes, fields: bytes) -> bytes:
        """One event. `fields` is the inside of its object, behind its type and number."""
        if self.plain:
            return b""
        number = self.number
        self.number = number + 1
        return b'event: response.%b\ndata: {"type":"response.%b","sequence_number":%d,%b}\n\n' % (
            name,
            name,
            number,
            fields,
        )

    def fill(self, template: bytes, text: str) -> bytes:
        """One event of a template, with the next number and a text."""
        if self.plain:
            return b""
        number = self.number
        self.number = number + 1
        return template % (number, encode(text))


def template(name: bytes, before: bytes, after: bytes = b"") -> bytes:
    """An event that is said again and again, but for its number and one text: it is put together once."""
    opener = b'event: response.%b\ndata: {"type":"response.%b","sequence_number":%%d,' % (name, name)
    return b"".join((opener, escaped(before), b"%b", escaped(after), b"}\n\n"))


def escaped(text: bytes) -> bytes:
    """Bytes that are filled in once more, as they are."""
    return text.replace(b"%", b"%%")
