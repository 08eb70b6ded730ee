"""Owns PDFs made in code: honest ones, and ones whose pages are more than they say."""

import zlib
from collections.abc import Iterator

Objects = dict[int, bytes]
HEAD = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"


def pdf(
    objects: Objects, *, root: int = 1, trailer: bytes = b"", before: bytes = HEAD, prev: int = -1
) -> bytes:
    """A PDF of these objects, with a classic table; after `before`, which may be another revision."""
    out = bytearray(before)
    places = {}
    for number, body in objects.items():
        places[number] = len(out)
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 1\n0000000000 65535 f \n"
    for number, place in places.items():
        out += b"%d 1\n%010d 00000 n \n" % (number, place)
    chain = b" /Prev %d" % prev if prev >= 0 else b""
    size = max(objects) + 1
    out += b"trailer\n<< /Size %d /Root %d 0 R%b%b >>\n" % (size, root, chain, trailer)
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)


def packed(objects: Objects, *, root: int = 1, number: int = 900) -> bytes:
    """A PDF whose objects are compressed: none of them stands in the open."""
    bodies = list(objects.items())
    offsets, inside = [], b""
    for name, body in bodies:
        offsets.append(b"%d %d" % (name, len(inside)))
        inside += body + b" "
    index = b" ".join(offsets) + b" "
    data = zlib.compress(index + inside)
    out = bytearray(HEAD)
    place = len(out)
    out += b"%d 0 obj\n<< /Type /ObjStm /N %d /First %d /Filter /FlateDecode /Length %d >>\nstream\n" % (
        number,
        len(bodies),
        len(index),
        len(data),
    )
    out += data + b"\nendstream\nendobj\n"
    start = len(out)
    rows = [b"\x00" + bytes(4) + b"\xff\xff"]
    sections = [b"0 1"]
    for position, (name, _) in enumerate(bodies):
        rows.append(b"\x02" + number.to_bytes(4) + position.to_bytes(2))
        sections.append(b"%d 1" % name)
    for name, where in ((number, place), (number + 1, start)):
        rows.append(b"\x01" + where.to_bytes(4) + bytes(2))
        sections.append(b"%d 1" % name)
    table = zlib.compress(b"".join(rows))
    out += (
        b"%d 0 obj\n<< /Type /XRef /Size %d /Root %d 0 R /W [1 4 2] /Index [%b] /Filter /FlateDecode /Length %d >>\n"
        % (number + 1, number + 2, root, b" ".join(sections), len(table))
    )
    out += b"stream\n" + table + b"\nendstream\nendobj\n"
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)


PAGE = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] >>"


def tree(pages: int, *, count: int | None = None, page: bytes = PAGE) -> Objects:
    """A catalogue, a page tree and so many pages; `count` is what the tree says."""
    kids = b" ".join(b"%d 0 R" % (10 + number) for number in range(pages))
    said = pages if count is None else count
    return {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [%b] /Count %d >>" % (kids, said),
        **{10 + number: page for number in range(pages)},
    }


def repeated(times: int, *, count: int = 1) -> Objects:
    """One page that its tree names many times."""
    kids = b" ".join([b"10 0 R"] * times)
    return {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [%b] /Count %d >>" % (kids, count),
        10: PAGE,
    }


def branches(levels: int, width: int) -> Objects:
    """A tree whose every branch is the same one: width to the power of levels, in a few bytes."""
    nodes = {
        20 + level: b"<< /Type /Pages /Kids [%b] /Count 1 >>"
        % b" ".join([b"%d 0 R" % (21 + level if level + 1 < levels else 10)] * width)
        for level in range(levels)
    }
    return {1: b"<< /Type /Catalog /Pages 20 0 R >>", 10: PAGE, **nodes}


def updated(first: bytes, objects: Objects) -> bytes:
    """A further revision of a PDF."""
    place = int(first[first.rindex(b"startxref") + 9 :].split()[0])
    return pdf(objects, before=first, prev=place)


def lying_pdfs() -> Iterator[tuple[bytes, int]]:
    """PDFs that say one page, with the most that a reader may find."""
    one = pdf(tree(1))
    for pages in (7, 40, 300, 600):
        many = tree(pages, count=1)
        yield pdf(many), pages
        yield packed(many), pages
        yield packed(tree(1, count=pages)), pages
        yield pdf(repeated(pages)), pages
        yield packed(repeated(pages)), pages
        yield packed(branches(2, pages)), pages * pages
        yield updated(one, many), pages
        yield pdf(many | {1: b"<< /Type /Catalog /Pages 2 0 R /Pages 3 0 R >>", 3: tree(1)[2]}), pages
        yield pdf(many, trailer=b" /Encrypt << /Filter /Standard /V 1 /R 2 /P 0 /O () /U () >>"), pages
        yield one + b"\n" * 3_000 + pdf(many)[len(HEAD) :], pages
        yield pdf(many) + one[len(HEAD) :], pages
        yield pdf(many).replace(b"/Type /Page ", b"/Type/Page "), pages
        yield pdf(many).replace(b"%PDF", b"junk%PDF"), pages
        yield pdf(many)[:-7] + b"%" + b"x" * 2_000, pages


def broken_pdfs() -> Iterator[bytes]:
    """What is no tree, or none that ends."""
    yield b""
    yield b"%PDF-1.7"
    yield b"PK\x03\x04" + bytes(500)
    yield pdf({1: b"<< /Type /Catalog >>"})
    yield pdf({1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: b"<< /Type /Pages /Kids [2 0 R] /Count 1 >>"})
    yield pdf({1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: b"<< /Type /Pages /Kids [9 0 R] /Count 1 >>"})
    yield pdf({1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: b"[1 2 3]"})
    yield pdf(branches(80, 1))
    yield packed(branches(60, 2))
    yield pdf(tree(1))[:-40]
    yield pdf(tree(3)).replace(b" 00000 n", b" 0000x n")
