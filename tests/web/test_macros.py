"""Owns the parts of pages: what is filled in is text, errors stand beside their fields, and no part needs a script."""

from xml.etree import ElementTree as ET

import pytest
from markupsafe import Markup

from web.pages import Pages


@pytest.fixture(scope="module")
def pages():
    return Pages()


def drawn(pages, text, **values):
    """A piece of a page as a tree."""
    source = "{% import 'macros.html' as m %}<div>" + text + "</div>"
    made = pages._environment.from_string(source).render(**values)
    for void in ("input",):  # HTML's, which XML would want closed
        parts = made.split(f"<{void} ")
        made = f"<{void} ".join([parts[0], *(part.replace(">", "/>", 1) for part in parts[1:])])
    for bare in ("required", "checked", "selected", "data-copy", "data-equipped"):
        made = made.replace(f" {bare}", f' {bare}=""')
    return ET.fromstring(made)


@pytest.mark.parametrize(
    "text",
    [
        "{{ m.field('name', evil, value=evil, hint=evil, error=evil) }}",
        "{{ m.area('name', evil, value=evil, error=evil) }}",
        "{{ m.select('name', evil, [(evil, evil)], value=evil) }}",
        "{{ m.check('name', evil, hint=evil) }}",
        "{{ m.badge(evil) }}{{ m.notice(evil) }}{{ m.code(evil, evil) }}{{ m.id(evil) }}",
        "{{ m.tiles([(evil, evil, evil)]) }}{{ m.facts([(evil, evil)]) }}{{ m.meter(1, 2, evil) }}",
        "{% call m.table(evil, [evil, (evil, 'num')]) %}<tr><td>{{ evil }}</td></tr>{% endcall %}",
        "{% call m.form('/x', evil, {'a': evil}, evil) %}{% endcall %}{{ m.problems({'name': evil, '': evil}) }}",
        "{% call m.live('s', evil, 2, evil) %}{{ evil }}{% endcall %}{{ m.pager(evil, evil) }}{{ m.empty(evil) }}",
    ],
)
def test_whatever_is_filled_in_is_text(pages, text):
    """A name with markup in it stays a name, in every place of every part."""
    tree = drawn(pages, text, evil="<script>&\"'")
    assert tree.find(".//script") is None
    assert "<script>" in "".join(tree.itertext()) + "".join(
        value for one in tree.iter() for value in one.attrib.values()
    )


@pytest.mark.parametrize("part", ["field('cap', 'Cap', value='12x'", "area('cap', 'Cap', value='12x'"])
def test_an_error_stands_beside_its_field(pages, part):
    """The input is kept, is marked as wrong, and names its hint and its error as what describes it."""
    tree = drawn(pages, "{{ m." + part + ", hint='In USD', error='Not a number') }}")
    control = tree.find(".//*[@id='f-cap']")
    assert (control.get("value") or control.text.strip()) == "12x"
    assert control.get("aria-invalid") == "true"
    told = [tree.find(f".//*[@id='{name}']").text for name in control.get("aria-describedby").split()]
    assert told == ["In USD", "Not a number"]
    assert tree.find(".//label").get("for") == "f-cap"


def test_a_field_without_fault_says_none(pages):
    """Neither a description nor a mark, where there is nothing to say."""
    control = drawn(
        pages, "{{ m.field('a', 'A', value=none, required=true, more={'autocomplete': 'off'}) }}"
    ).find(".//input")
    assert (control.get("value"), control.get("autocomplete")) == ("", "off")
    assert not {"aria-invalid", "aria-describedby"} & set(control.attrib)


def test_a_form_posts_its_token(pages):
    """What changes something is a POST that has the session's token."""
    tree = drawn(pages, "{% call m.form('/keys', 'tok', {'id': 'key_1'}) %}<button>Go</button>{% endcall %}")
    form = tree.find("form")
    assert (form.get("method"), form.get("action")) == ("post", "/keys")
    assert {one.get("name"): one.get("value") for one in form.findall("input")} == {
        "csrf": "tok",
        "id": "key_1",
    }


def test_tables_have_a_caption_and_scopes(pages):
    """Who hears a table knows what it is of, and which head a cell belongs to."""
    tree = drawn(
        pages,
        "{% call m.table('Keys', ['Name', ('Balance', 'num')]) %}<tr><th scope='row'>a</th></tr>{% endcall %}",
    )
    assert tree.find(".//caption").text == "Keys"
    assert [head.get("scope") for head in tree.findall(".//thead/tr/th")] == ["col", "col"]
    assert tree.find("div").get("tabindex") == "0"


@pytest.mark.parametrize(
    ("part", "whole", "width", "kind"),
    [
        (0, 0, "0", "good"),
        (79, 100, "79", "good"),
        (80, 100, "80", "warn"),
        (300, 100, "100", "bad"),
        (-5, 100, "0", "good"),
    ],
)
def test_a_meter_stays_in_its_frame(pages, part, whole, width, kind):
    """Nothing of nothing is empty, and more than all is full."""
    bar = drawn(pages, "{{ m.meter(part, whole, 'x') }}", part=part, whole=whole).findall(".//rect")[1]
    assert (bar.get("width"), bar.get("class")) == (width, kind)


def test_the_frame_has_its_landmarks(pages):
    """A link past the navigation, which says where one is; the main part can take the focus."""
    page = pages._environment.from_string("{% extends 'base.html' %}{% block title %}T{% endblock %}").render(
        nav=[("/", "Start"), ("/docs", "Docs")], current="/docs", modules=["copy.js"]
    )
    assert page.startswith("<!doctype html>")
    assert (
        page.index('class="skip" href="#main"')
        < page.index("<nav")
        < page.index('<main id="main" tabindex="-1">')
    )
    assert '<a href="/docs" aria-current="page">Docs</a>' in page
    assert page.count("aria-current") == 1
    assert f'<script type="module" src="{pages.assets.url("copy.js")}"></script>' in page


def test_markup_of_charts_passes_as_it_is(pages):
    """A chart is drawn where a template names it, and is not escaped again."""
    assert drawn(pages, "{{ bars('x', ['a'], [1]) }}").find(".//svg") is not None
    assert isinstance(pages._environment.globals["bars"]("x", ["a"], [1]), Markup)
