"""Owns what the forms of a key's page do: each is one act, and leads back to the key or to what was wrong."""

from starlette.responses import Response

from console.asking import RefusedError
from console.pages.key_forms import cap_form, limit_figures, money_act
from console.pages.keys import HINT_CHARS, shown
from console.pages.lengths import ends_in_s
from console.pages.parts import Made, part_rows
from console.pages.site import PageRow
from console.pages.visit import FormError, Visit, names_given
from schemas import keys
from schemas.admin.reads import KEY
from schemas.verbs.base import VERSION
from schemas.verbs.keys import KeyRef, KeyRotate, KeyUpdate


async def _update(visit: Visit, id_: str) -> Made:
    lasts = visit.text("expires_in")
    return "key_update", KeyUpdate(
        VERSION,
        id_,
        name=visit.text("name"),
        providers=names_given(visit.text("providers")),
        models=names_given(visit.text("models")),
        expires_ms=0 if lasts == "never" else None,
        expires_in_s=0 if lasts in {"", "never"} else ends_in_s(lasts, "expires_in"),
    )


async def _pause(_visit: Visit, id_: str) -> Made:
    return "key_update", KeyUpdate(VERSION, id_, status="paused")


async def _resume(_visit: Visit, id_: str) -> Made:
    return "key_update", KeyUpdate(VERSION, id_, status="active")


async def _limits(visit: Visit, id_: str) -> Made:
    rpm, tpm, in_flight = limit_figures(visit)
    return "key_update", KeyUpdate(VERSION, id_, rpm=rpm, tpm=tpm, in_flight=in_flight)


async def _cap(visit: Visit, id_: str) -> Made:
    return "cap_create", cap_form(visit, key_id=id_)


async def _money(visit: Visit, id_: str) -> Made:
    return money_act(visit, f"key:{id_}")


async def _revoke(visit: Visit, id_: str) -> Made:
    row = await visit.row(KEY, KeyRef(VERSION, id_))
    if visit.text("confirm") not in {row["id"], row["name"]} - {""}:
        raise FormError("confirm", f"Type {row['name'] or row['id']} to revoke it for good.")
    return "key_revoke", KeyRef(VERSION, id_)


async def rotate(visit: Visit) -> Response:
    """Gives a key another secret, and shows it once."""
    id_, secret = visit.path["id"], keys.generate()
    try:
        overlap_ms = ends_in_s(visit.text("overlap"), "overlap") * 1000
        form = KeyRotate(VERSION, id_, keys.digest(secret), secret[-HINT_CHARS:], overlap_ms)
        made = await visit.act("key_rotate", form)
    except (FormError, RefusedError) as error:
        return await shown(visit, visit.refused(error), "rotate")
    return visit.page(
        "key_made.html",
        row=made.rows[0],
        secret="" if made.replayed else secret,
        base_url=visit.desk.base_url,
        title="The key has a new secret",
    )


ROWS = (
    *part_rows(
        "keys",
        shown,
        (
            ("update", "updated", "keys:write", _update),
            ("pause", "paused", "keys:write", _pause),
            ("resume", "resumed", "keys:write", _resume),
            ("limits", "limits", "keys:write", _limits),
            ("caps", "cap_made", "keys:write", _cap),
            ("money", "booked", "money:write", _money),
            ("revoke", "revoked", "keys:write", _revoke),
        ),
    ),
    PageRow(path="/keys/{id}/rotate", act=rotate, act_needs="keys:write"),
)
