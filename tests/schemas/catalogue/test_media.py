"""How providers count pictures: golden sizes by formula, and a hold that covers every size."""

import random

import pytest

from schemas.asked import NOTHING_SEEN, Seen
from schemas.catalogue.media import most_tokens, with_margin
from schemas.catalogue.model import Capabilities
from schemas.catalogue.profiles import PICTURE_TOKENS_MAX, profiled
from schemas.chat.counted import REMOTE_PX, picture
from tests.fakes.media import data_url, gif, jpeg, png, vp8, vp8l, vp8x, webp
from tests.fakes.media import frame as sof
from tests.schemas.catalogue.test_profiles import ANTHROPIC, BEDROCK, GEMINI, OPENAI

START = len("data:image/png;base64,")
SEEING = [
    (provider, upstream)
    for provider, ids in (
        ("openai", OPENAI),
        ("anthropic", ANTHROPIC),
        ("gemini", GEMINI),
        ("bedrock", BEDROCK),
    )
    for upstream in ids
    if profiled(provider, upstream).pictures is not None
]
GOLDEN = [
    # profile, model, size, detail, tokens
    ("openai", "gpt-4o", (1_024, 1_024), None, 765),
    ("openai", "gpt-4o", (2_048, 4_096), None, 1_105),
    ("openai", "gpt-4o", (4_096, 8_192), "low", 85),
    ("openai", "gpt-4o", (512, 512), None, 255),
    ("openai", "gpt-4o", (513, 512), None, 425),
    ("openai", "gpt-4o", (8_000, 3_000), None, 1_445),
    ("openai", "gpt-4o", (1, 1), None, 255),
    ("openai", "gpt-4o-mini", (1_024, 1_024), None, 25_501),
    ("openai", "gpt-4o-mini", (512, 512), "low", 2_833),
    ("openai", "gpt-4o-mini", (6_000, 1_000), None, 25_501),
    ("openai", "o3", (1_024, 1_024), None, 675),
    ("openai", "o3", (2_048, 768), None, 1_275),
    ("openai", "gpt-5", (1_024, 1_024), None, 630),
    ("openai", "gpt-5", (100, 100), "low", 70),
    ("openai", "computer-use-preview", (1_024, 768), None, 581),
    ("openai", "gpt-5-mini", (1_024, 1_024), None, 1_659),
    ("openai", "gpt-5-mini", (1_800, 2_400), None, 6_926),
    ("openai", "gpt-5-mini", (4_000, 4_000), None, 9_954),
    ("openai", "gpt-4.1-nano", (1_024, 1_024), None, 2_520),
    ("openai", "o4-mini", (33, 32), None, 4),
    ("openai", "gpt-5.2", (1_024, 1_024), None, 1_229),
    ("openai", "gpt-5.2", (4_096, 4_096), None, 7_373),
    ("openai", "gpt-5.4", (1_024, 1_024), None, 1_229),
    ("openai", "gpt-5.4", (4_096, 4_096), None, 3_000),
    ("openai", "gpt-5.4", (4_096, 4_096), "original", 12_000),
    ("openai", "gpt-5.4", (8_000, 6_000), "original", 12_000),
    ("openai", "gpt-5.4", (4_096, 1_024), "high", 1_229),
    ("openai", "gpt-5.5", (4_096, 4_096), None, 12_000),
    ("openai", "gpt-5.5", (4_096, 4_096), "high", 3_000),
    ("openai", "gpt-6.1-sol", (512, 512), None, 308),
    ("openai", "gpt-6.1-sol", (3_840, 2_160), None, 9_792),
    ("openai", "gpt-6.1-sol", (4_096, 4_096), "low", 19_661),
    ("openai", "gpt-6.1-sol", (8_000, 8_000), None, 36_000),
    ("anthropic", "claude-sonnet-4-6", (200, 200), None, 64),
    ("anthropic", "claude-sonnet-4-6", (1_000, 1_000), None, 1_296),
    ("anthropic", "claude-sonnet-4-6", (1_092, 1_092), None, 1_521),
    ("anthropic", "claude-sonnet-4-6", (3_840, 2_160), None, 1_568),
    ("anthropic", "claude-sonnet-4-6", (1_568, 100), None, 224),
    ("anthropic", "claude-opus-4-8", (1_000, 1_000), None, 1_296),
    ("anthropic", "claude-opus-4-8", (3_840, 2_160), None, 4_784),
    ("anthropic", "claude-opus-4-8", (2_576, 1_449), None, 4_784),
    ("anthropic", "claude-opus-4-8", (8_000, 8_000), None, 4_784),
    ("gemini", "gemini-2.5-flash", (384, 384), None, 258),
    ("gemini", "gemini-2.5-flash", (385, 384), None, 1_032),
    ("gemini", "gemini-2.5-flash", (960, 540), None, 1_548),
    ("gemini", "gemini-2.5-flash", (1_024, 1_024), None, 1_032),
    ("gemini", "gemini-2.5-flash", (8_000, 400), None, 5_160),
    ("gemini", "gemini-3.8-flash", (10, 10), None, 1_120),
    ("gemini", "gemini-3.8-flash", (8_000, 8_000), None, 1_120),
]


@pytest.mark.parametrize(("profile", "upstream", "size", "detail", "tokens"), GOLDEN)
def test_golden_sizes(profile, upstream, size, detail, tokens):
    """A picture counts what its provider's page says, turned or not, and its hold a tenth more, up to the row's most."""
    able = profiled(profile, upstream)
    assert able.pictures.tokens(*size, detail) == tokens
    assert able.pictures.tokens(*reversed(size), detail) == tokens
    found = picture(able, NOTHING_SEEN, data_url(png(size)), START, detail)
    assert found.likely == tokens
    assert found.most == min(with_margin(tokens), able.image_tokens_max)


def test_there_are_golden_sizes_of_every_formula():
    """At least forty sizes, and each formula among them."""
    formulas = {type(profiled(profile, upstream).pictures).__name__ for profile, upstream, *_ in GOLDEN}
    assert len(GOLDEN) >= 40
    assert formulas == {"Tiles", "Patches", "Cells", "Crops", "Flat"}


@pytest.mark.parametrize(("profile", "upstream"), SEEING)
def test_a_hold_covers_two_thousand_sizes(profile, upstream):
    """Of random sizes, a hold is never below what is charged, and the row's most is never below a readable picture's."""
    able = profiled(profile, upstream)
    chance = random.Random(upstream)
    for number in range(2_000):
        width, height = (int(2 ** chance.uniform(0, 14)) for _ in range(2))
        detail = chance.choice((None, "auto", "low", "high", "original"))
        charged = able.pictures.tokens(width, height, detail)
        assert 0 < charged <= most_tokens(able.pictures) <= able.image_tokens_max
        if number % 40 == 0:  # the bytes are read the same, whatever the size
            found = picture(able, NOTHING_SEEN, data_url(png((width, height))), START, detail)
            assert charged == found.likely <= found.most <= able.image_tokens_max
        assert charged <= min(with_margin(charged), able.image_tokens_max)
    assert able.image_tokens_max <= PICTURE_TOKENS_MAX + PICTURE_TOKENS_MAX // 10 or "mini" in upstream


@pytest.mark.parametrize(
    "data",
    [
        png((640, 480)),
        jpeg(sof((640, 480))),
        jpeg(sof((640, 480), 0xC2)),
        gif((640, 480)),
        webp(vp8x((640, 480)), vp8((640, 480))),
        webp(vp8((640, 480))),
        webp(vp8l((640, 480))),
    ],
)
def test_a_picture_is_counted_by_its_own_bytes(data):
    """Whatever its media type says, a small picture of any format holds its own tokens, not the model's most."""
    able = profiled("openai", "gpt-6.1-sol")
    found = picture(able, NOTHING_SEEN, data_url(data), START, None)
    assert (found.most, found.likely) == (396, 360)


def test_what_has_no_size_counts_the_most():
    """HEIC, noise, nothing, and a picture behind a URL hold the row's most; the last is estimated as a usual one."""
    able = profiled("openai", "gpt-6.1-sol")
    for data in (
        b"\x00\x00\x00\x18ftypheic" + bytes(900),
        b"noise" * 100,
        b"",
        png((5, 0)),
        png((5, 5))[:20],
    ):
        found = picture(able, NOTHING_SEEN, data_url(data), START, None)
        assert (found.most, found.likely) == (39_600, 39_600)
    remote = picture(able, NOTHING_SEEN, "https://example.com/a.png", -1, None)
    assert (remote.most, remote.likely) == (39_600, able.pictures.tokens(*REMOTE_PX, None))


def test_a_row_without_a_formula_counts_its_most():
    """An operator's own bound is used as it is, whatever the picture; with a formula it stays the most."""
    able = Capabilities(images=True, image_tokens_max=77)
    assert picture(able, NOTHING_SEEN, data_url(png((9, 9))), START, None).most == 77
    seen = profiled("openai", "gpt-4o")
    found = picture(seen, Seen(caps_only=True), data_url(png((9, 9))), START, None)
    assert (found.most, found.likely) == (1_500, 255)
