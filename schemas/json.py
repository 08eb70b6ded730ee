"""Owns what reading JSON that others wrote can raise."""

from typing import Final

import msgspec

# RecursionError and UnicodeDecodeError are not msgspec's own, and hostile bodies raise both.
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
