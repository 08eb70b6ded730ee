"""Owns the headers that every page and every asset is sent with."""

from typing import Final

Headers = tuple[tuple[bytes, bytes], ...]

CONTENT_SECURITY_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HTML: Final = (b"content-type", b"text/html; charset=utf-8")
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
_PAGE: Final[Headers] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY),
    _NOSNIFF,
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
# Of pages that are the same for everybody: a browser asks again each time, and may be told that nothing has changed.
PUBLIC_PAGE: Final[Headers] = (*_PAGE, (b"cache-control", b"no-cache"))
# Of pages with anybody's data: kept nowhere.
DATA_PAGE: Final[Headers] = (*_PAGE, (b"cache-control", b"no-store"))
# Of what has the hash of its bytes in its name.
ASSET: Final[Headers] = ((b"cache-control", b"public, max-age=31536000, immutable"), _NOSNIFF)
# Of what has a fixed name, such as an icon.
FIXED_ASSET: Final[Headers] = ((b"cache-control", b"public, max-age=3600"), _NOSNIFF)
