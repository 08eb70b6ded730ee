"""Owns what of an upstream's words may reach a caller: short, and without keys, ARNs, account and project ids."""

import math
import re
import threading
import time

MESSAGE_CHARS_MAX = 1_000
HIDDEN_MAX = 64  # minted tokens that are known by heart: none lives as long as it takes to mint so many more
FORMER_S = 600.0  # how long what an account had before is still taken out of messages
_CHARS_MIN = 4  # shorter ones would take ordinary words out

_SECRETS = re.compile(
    r"""
      \b(?:sk|rk|pk|sess|key)-[A-Za-z0-9_*.-]{6,}      # OpenAI's and Anthropic's keys, masked ones too
    | \b(?:sk|gsk|hf|fw|tgp|r8)_[A-Za-z0-9_-]{6,}      # other vendors', by how they begin
    | \b(?:csk|xai|pplx|nvapi)-[A-Za-z0-9_-]{6,}
    | \beyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]+)*      # signed tokens
    | \b(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{32,}(?:\.[A-Za-z0-9]+)?  # keys that begin like nothing
    | \bAIza[A-Za-z0-9_-]{10,}                         # Google's keys
    | \bAQ\.[A-Za-z0-9_-]{10,}
    | \b(?:AKIA|ASIA|ABSK)[A-Za-z0-9+/=]{8,}           # AWS keys
    | \bya29\.[A-Za-z0-9_.-]{10,}                      # Google's access tokens
    | \beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_.-]+         # signed claims
    | \bBearer\s+\S+
    | \barn:aws[a-z-]*:[^\s"']+
    | \b(?:org|proj|user|acct|project|asst|wrkspc)[-_][A-Za-z0-9]{8,}
    | \bprojects/[^\s/"']+
    | \b\d{10,16}\b                                    # account and project numbers
    | https?://[^\s"']+
    """,
    re.VERBOSE,
)


_hidden: dict[str, float] = {}  # each until when, by time.monotonic(); the oldest first
_lock = threading.Lock()  # another thread mints


def hide(secret: str, for_s: float = math.inf) -> None:
    """Has a secret that no setting names, such as a minted token, taken out of every message from now on, for so long."""
    with _lock:
        _forget_past()
        _hidden.pop(secret, None)
        if len(secret) >= _CHARS_MIN:
            _hidden[secret] = time.monotonic() + for_s
        if len(_hidden) > HIDDEN_MAX:
            del _hidden[next(iter(_hidden))]


def _forget_past() -> list[str]:
    """What is still hidden."""
    now = time.monotonic()
    for secret in [secret for secret, until in _hidden.items() if until <= now]:
        del _hidden[secret]
    return list(_hidden)


def scrub(text: str) -> str:
    """An upstream's message with what identifies our accounts taken out, at most MESSAGE_CHARS_MAX characters."""
    text = text[: 4 * MESSAGE_CHARS_MAX]
    with _lock:
        hidden = _forget_past()
    for secret in hidden:
        text = text.replace(secret, "[redacted]")
    return _SECRETS.sub("[redacted]", text)[:MESSAGE_CHARS_MAX]
