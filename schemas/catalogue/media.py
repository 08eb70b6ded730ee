"""Owns the formulas by which providers count pictures: tokens of a width and a height, as data of a capability row.

Every formula gives the same for a picture and for the picture turned, so that no orientation has to be read.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

_Count = Annotated[int, Meta(ge=0)]
_Pixels = Annotated[int, Meta(ge=1)]
DETAIL_LOW: Final = "low"
DETAIL_HIGH: Final = "high"
DETAIL_ORIGINAL: Final = "original"
# A page of a document as a provider draws it: US letter at 150 dots an inch.
PAGE_PX: Final = (1_275, 1_650)


class Cells(Struct, frozen=True, kw_only=True, tag_field="formula", tag="cells"):
    """Claude: cells of `side_px`, after the picture was shrunk to `edge_px_max` and `tokens_max`."""

    side_px: _Pixels = 28
    edge_px_max: _Pixels
    tokens_max: _Count

    def tokens(self, width: int, height: int, detail: str | None) -> int:
        """What a picture of so many pixels counts; `detail` changes nothing."""
        del detail
        over, under = _fit(width, height, self.edge_px_max)
        cells = _ceil(width * over, under * self.side_px) * _ceil(height * over, under * self.side_px)
        return min(cells, self.tokens_max)


class Tiles(Struct, frozen=True, kw_only=True, tag_field="formula", tag="tiles", omit_defaults=True):
    """OpenAI up to GPT-5: a base, and so many tokens a tile of 512 px; `detail: low` is the base alone."""

    base_tokens: _Count
    tile_tokens: _Count
    tile_px: _Pixels = 512
    edge_px_max: _Pixels = 2_048
    short_px_max: _Pixels = 768

    def tokens(self, width: int, height: int, detail: str | None) -> int:
        """What a picture of so many pixels counts."""
        if detail == DETAIL_LOW:
            return self.base_tokens
        over, under = _fit(width, height, self.edge_px_max)
        short = min(width, height)
        if short * over > self.short_px_max * under:
            over, under = self.short_px_max, short
        tiles = _ceil(width * over, under * self.tile_px) * _ceil(height * over, under * self.tile_px)
        return self.base_tokens + self.tile_tokens * tiles


class Patches(Struct, frozen=True, kw_only=True, tag_field="formula", tag="patches", omit_defaults=True):
    """OpenAI's newer models: patches of `side_px`, at most `patches_max`, times a factor in thousandths, and a base.

    `high_patches_max` bounds `detail: high` where the model has it apart; with `auto_is_high`, an unset detail too.
    An `edge_px_max` of 0 is none.
    """

    factor_permille: _Count
    patches_max: _Count
    side_px: _Pixels = 32
    edge_px_max: _Count = 0
    high_patches_max: _Count = 0
    high_edge_px_max: _Count = 0
    auto_is_high: bool = False
    base_tokens: _Count = 0

    def tokens(self, width: int, height: int, detail: str | None) -> int:
        """What a picture of so many pixels counts."""
        most, edge_px = self.patches_max, self.edge_px_max
        if self.high_patches_max and self._is_high(detail):
            most, edge_px = self.high_patches_max, self.high_edge_px_max
        over, under = _fit(width, height, edge_px) if edge_px else (1, 1)
        patches = _ceil(width * over, under * self.side_px) * _ceil(height * over, under * self.side_px)
        return self.base_tokens + _ceil(min(patches, most) * self.factor_permille, 1_000)

    def _is_high(self, detail: str | None) -> bool:
        return detail in (DETAIL_HIGH, DETAIL_LOW) or (self.auto_is_high and detail != DETAIL_ORIGINAL)


class Crops(Struct, frozen=True, kw_only=True, tag_field="formula", tag="crops", omit_defaults=True):
    """Gemini up to 2.5: crops of a unit that follows from the shorter side; a small picture is one."""

    crop_tokens: _Count = 258
    small_px_max: _Pixels = 384
    unit_px_min: _Pixels = 256
    unit_px_max: _Pixels = 768
    tokens_max: _Count

    def tokens(self, width: int, height: int, detail: str | None) -> int:
        """What a picture of so many pixels counts; `detail` changes nothing."""
        del detail
        if max(width, height) <= self.small_px_max:
            return self.crop_tokens
        unit = min(max(min(width, height) * 2 // 3, self.unit_px_min), self.unit_px_max)
        return min(self.crop_tokens * _ceil(width, unit) * _ceil(height, unit), self.tokens_max)


class Flat(Struct, frozen=True, kw_only=True, tag_field="formula", tag="flat"):
    """Gemini from 3 on: every picture counts the same."""

    picture_tokens: _Count

    def tokens(self, width: int, height: int, detail: str | None) -> int:
        """What any picture counts."""
        del width, height, detail
        return self.picture_tokens


Pictures = Cells | Tiles | Patches | Crops | Flat


def with_margin(tokens: int) -> int:
    """What a hold counts for a computed figure: a tenth more, for roundings and for pages that are out of date."""
    return tokens + _ceil(tokens, 10)


def most_tokens(pictures: Pictures) -> int:
    """The most that any picture counts, whatever its detail."""
    match pictures:
        case Cells() | Crops():
            return pictures.tokens_max
        case Tiles():
            tiles = _ceil(pictures.edge_px_max, pictures.tile_px) * _ceil(
                pictures.short_px_max, pictures.tile_px
            )
            return pictures.base_tokens + pictures.tile_tokens * tiles
        case Patches():
            most = max(pictures.patches_max, pictures.high_patches_max)
            return pictures.base_tokens + _ceil(most * pictures.factor_permille, 1_000)
        case Flat():
            return pictures.picture_tokens


def _fit(width: int, height: int, edge_px_max: int) -> tuple[int, int]:
    """The factor, as a fraction, that brings the longer side down to a bound."""
    edge = max(width, height)
    return (edge_px_max, edge) if edge > edge_px_max else (1, 1)


def _ceil(over: int, under: int) -> int:
    return -(-over // under)
