"""Owns the framing of server-sent events: bytes cut anywhere in, the data of whole events out."""

EVENT_BYTES_MAX = 8 * 1024 * 1024  # one event: above any audio chunk or image that a provider sends

_LF = 10
_CR = 13
_BOM = b"\xef\xbb\xbf"


class EventTooLargeError(Exception):
    """An upstream sent an event, or a line, that does not end within EVENT_BYTES_MAX."""


class EventReader:
    """Splits a stream into the data of its events. LF, CR and CRLF line ends, comments and other fields as in SSE.

    Works on bytes, so a character that is cut between two reads is never decoded in halves.
    """

    __slots__ = ("_after_cr", "_data", "_data_bytes", "_rest", "_scanned")

    def __init__(self) -> None:
        self._after_cr = False  # the last line ended with a CR: an LF that follows belongs to it
        self._rest = b""  # what has come of a line that has not ended
        self._scanned = 0  # bytes of it that are known to hold no line end
        self._data: list[bytes] = []  # data lines of the event under way
        self._data_bytes = 0  # of those lines as they came: empty ones count as well

    def feed(self, data: bytes) -> list[bytes]:
        """The data of each event that these bytes complete, in order. Raises EventTooLargeError."""
        if not (self._rest or self._data or self._after_cr):
            if data.endswith(b"\n\n") and b"\r" not in data:
                # Most reads hold one event of one data line, perhaps below its name.
                start = data.find(b"\n") + 1 if data.startswith(b"event: ") else 0
                if data.startswith(b"data: ", start) and data.find(b"\n", start) == len(data) - 2:
                    return [data[start + 6 : -2]]
                return self._whole(data, b"\n\n")
            if data.endswith(b"\r\n\r\n"):
                return self._whole(data, b"\r\n\r\n")
        return self._general(data)

    def end(self) -> bytes:
        """The data of an event that lacks its blank line at the end of file: servers do so after their last one."""
        events: list[bytes] = []
        for line in (self._rest, b""):
            self._line(line, events)
        return b"".join(events)

    def _whole(self, data: bytes, gap: bytes) -> list[bytes]:
        # Else, as a rule, several such events.
        events: list[bytes] = []
        for block in data.split(gap):
            if block.startswith(b"event: ") and gap == b"\n\n":
                rest = block[block.find(b"\n") + 1 :]
                if rest.startswith(b"data: ") and b"\n" not in rest:
                    events.append(rest[6:])
                    continue
            if block.startswith(b"data: ") and b"\n" not in block and b"\r" not in block:
                events.append(block[6:])
            elif block:
                events += self._general(block + gap)
        return events

    def _general(self, data: bytes) -> list[bytes]:
        if self._after_cr:
            data = data.removeprefix(b"\n")  # the other half of a CRLF
            self._after_cr = False
        buffer = self._rest + data
        events: list[bytes] = []
        start = 0
        position = self._scanned
        while (end := _line_end(buffer, position)) >= 0:
            self._line(buffer[start:end], events)
            start = end + 1
            if buffer[end] == _CR:
                if start == len(buffer):
                    self._after_cr = True
                elif buffer[start] == _LF:
                    start += 1
            position = start
        self._rest = buffer[start:]
        self._scanned = len(self._rest)
        if len(self._rest) + self._data_bytes > EVENT_BYTES_MAX:
            raise EventTooLargeError
        return events

    def _line(self, line: bytes, events: list[bytes]) -> None:
        if not line:
            if self._data:
                events.append(b"\n".join(self._data))
                self._data = []
                self._data_bytes = 0
        elif line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            self._data_bytes += len(line) + 1
        elif line.startswith(_BOM):
            # Some servers open with one, and proxies join streams that do: no field's name begins so.
            self._line(line[len(_BOM) :], events)


def _line_end(buffer: bytes, start: int) -> int:
    line_feed = buffer.find(b"\n", start)
    carriage = buffer.find(b"\r", start, line_feed if line_feed >= 0 else len(buffer))
    return carriage if carriage >= 0 else line_feed
