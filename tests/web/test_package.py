"""Owns the package's files: what is served and packed, how small it stays, and the contrast of its colours."""

import re
import subprocess
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from jinja2 import UndefinedError

from tests.fakes.node import NODE
from web import headers
from web.assets import FOLDER, Assets
from web.pages import TEMPLATES, Pages

ROOT = Path(__file__).resolve().parents[2]
SHEET = (FOLDER / "style.css").read_text()
MODULES = sorted(FOLDER.glob("*.js"))
COLOUR = re.compile(r"--([a-z0-9-]+): (#[0-9a-f]{6})")
TEXTS = ("ink", "soft", "accent", "good", "warn", "bad")


def test_the_wheel_and_the_image_have_the_files():
    """Templates and assets are packed beside their readers, and the image copies the whole folder."""
    packed = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "web").rglob("*.*") if path.suffix != ".pyc"}
    assert files <= packed
    assert {"web/templates/base.html", "web/static/style.css"} <= files
    image = (ROOT / "Dockerfile").read_text()
    assert "COPY web /opt/tokn/src/web\n" in image
    copied = set(re.findall(r"^COPY (\w+) /opt", image, re.MULTILINE))
    assert {"console", "web"} <= copied
    assert {f"!{folder}" for folder in copied} <= set((ROOT / ".dockerignore").read_text().splitlines())


def test_what_a_browser_loads_is_small():
    """One sheet and the modules have a limit each, and neither names anything elsewhere."""
    assert len(SHEET.splitlines()) <= 300
    assert sum(len(module.read_text().splitlines()) for module in MODULES) <= 500
    for file in FOLDER.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"@import|url\(|https?://(?!\$|127\.0\.0\.1)", text), file.name


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_modules_are_modules(module, tmp_path):
    """Node reads each as an ES module, and none makes code or markup of text."""
    copied = tmp_path / f"{module.stem}.mjs"
    copied.write_text(module.read_text())
    checked = subprocess.run(
        [str(NODE), "--check", str(copied)], check=False, capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stderr
    assert not re.search(
        r"innerHTML\s*=|insertAdjacentHTML|document\.write|eval\(|new Function", module.read_text()
    )
    assert not re.search(r"(local|session)Storage|document\.cookie", module.read_text())


def brightness(colour):
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    high, low = sorted((brightness(one), brightness(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_read(scheme):
    """Text has a contrast of 4.5 on every ground, and what is drawn one of 3."""
    light, dark = SHEET.split("@media (prefers-color-scheme: dark)")[0:2]
    colours = dict(COLOUR.findall((light, dark.split("*, *::before")[0])[scheme]))
    low = [
        (text, ground)
        for text in TEXTS
        for ground in ("ground", "panel", "raised", "tint", "warn-tint", "bad-tint")
        if contrast(colours[text], colours[ground]) < 4.5
        and (
            ground not in ("tint", "warn-tint", "bad-tint")
            or text in ("ink", {"tint": "good", "warn-tint": "warn", "bad-tint": "bad"}[ground])
        )
    ]
    assert low == []
    assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
    drawn = [name for name in colours if re.fullmatch(r"s\d|edge", name)]
    assert [name for name in drawn if contrast(colours[name], colours["panel"]) < 3] == []


def test_templates_compile_and_miss_nothing():
    """Each is valid, and a value that nobody gave is an error and never an empty place."""
    pages = Pages()
    assert {"base.html", "macros.html"} <= set(pages.check())
    assert TEMPLATES.is_dir()
    with pytest.raises(UndefinedError):
        pages._environment.from_string("{{ nobody_gave_this }}").render()


def test_assets_are_named_by_their_bytes():
    """The hash is in the name, the kind is known, and no path leads to another file."""
    assets = Assets()
    sheet = assets.named("style.css")
    assert re.fullmatch(r"/static/style-[0-9a-f]{12}\.css", sheet.path)
    assert assets.at(sheet.path) is sheet
    for path in (
        "/static/style.css",
        "/static/../assets.py",
        "/static/",
        sheet.path + "/",
        sheet.path.upper(),
    ):
        assert assets.at(path) is None
    assert all(asset.kind for asset in assets)


def test_an_asset_of_another_kind_is_refused(tmp_path):
    """What has no known content type, or is too large, ends the start and is never served as a guess."""
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"notes\.txt"):
        Assets(tmp_path)


def test_pages_may_load_from_here_alone():
    """The policy names nothing but this origin, and allows neither inline code nor frames."""
    policy = headers.CONTENT_SECURITY_POLICY.decode()
    assert policy.startswith("default-src 'none'; ")
    assert set(re.findall(r"'[a-z-]+'", policy)) == {"'none'", "'self'"}
    assert "frame-ancestors 'none'" in policy
    for kind in (headers.PUBLIC_PAGE, headers.DATA_PAGE):
        assert dict(kind)[b"content-security-policy"].decode() == policy
    assert dict(headers.DATA_PAGE)[b"cache-control"] == b"no-store"
    assert b"immutable" in dict(headers.ASSET)[b"cache-control"]
