"""Owns what of an upstream's words may reach a caller: short, and without keys, ARNs, account and project ids."""

import re

MESSAGE_CHARS_MAX = 1_000

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
    | \bBearer\s+\S+
    | \barn:aws[a-z-]*:[^\s"']+
    | \b(?:org|proj|user|acct|project|asst|wrkspc)[-_][A-Za-z0-9]{8,}
    | \bprojects/[^\s/"']+
    | \b\d{10,16}\b                                    # account and project numbers
    | https?://[^\s"']+
    """,
    re.VERBOSE,
)


def scrub(text: str) -> str:
    """An upstream's message with what identifies our accounts taken out, at most MESSAGE_CHARS_MAX characters."""
    return _SECRETS.sub("[redacted]", text[: 4 * MESSAGE_CHARS_MAX])[:MESSAGE_CHARS_MAX]
