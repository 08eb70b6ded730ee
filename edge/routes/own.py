"""Owns the routes on which a key's holder reads about it: the key, its money, its use, its calls.

The first four have the shapes of OpenRouter, whose clients and dashboards read them as they are. Amounts are dollars as
JSON numbers, written from exact decimals; tokn's own objects have nano-dollars.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from edge.http.exchange import Exchange
from edge.routes.endpoint import ID_CHARS_MAX, Backing, Row
from edge.routes.generations import found_receipt
from schemas.chat.priced import RequestError
from schemas.errors import invalid
from schemas.verbs.self import ActivityAsk, Ask, CallsAsk, CreditsAsk, KeyAsk, SelfReply

PAGE_MAX: Final = 200
PAGE: Final = 20
_EPOCH: Final = date(1970, 1, 1)
_RESETS: Final = {"day": "daily", "week": "weekly", "month": "monthly"}
_NOTE: Final = "Requests a minute of this key; -1 is for no limit. Answers carry x-ratelimit-* headers."
_encode = msgspec.json.Encoder(decimal_format="number").encode


def _usd(nano: int) -> Decimal:
    """Dollars, exactly, without trailing zeros."""
    return Decimal(f"{Decimal(nano).scaleb(-9):f}".rstrip("0").rstrip("."))


def _asked(exchange: Exchange, *names: str) -> dict[str, str]:
    """The query, of which only these fields are known. Raises RequestError 400."""
    query = parse_qs(exchange.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    for name, values in query.items():
        if name not in names:
            shown = name[:ID_CHARS_MAX]
            message = f"Unknown query parameter: '{shown}'."
            raise RequestError(invalid(message, param=shown, code="unknown_parameter"))
        if len(values) > 1:
            raise RequestError(invalid(f"'{name}' may be given once.", param=name, code="invalid_value"))
    return {name: values[0] for name, values in query.items()}


def _number(asked: dict[str, str], name: str, default: int, most: int) -> int:
    text = asked.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and int(text) <= most):
        message = f"'{name}' must be an integer of at most {most}."
        raise RequestError(invalid(message, param=name, code="invalid_value"))
    return int(text)


async def _read(backing: Backing, exchange: Exchange, ask: Ask, param: str = "") -> SelfReply:
    caller = backing.admission.caller(exchange)
    reply = await backing.own.ask(caller.digest, ask, param)
    caller.lives()
    return reply


async def key(backing: Backing, exchange: Exchange) -> None:
    """GET /v1/key: the key, what it has used, and its tightest cap."""
    _asked(exchange)
    (own,) = (await _read(backing, exchange, KeyAsk())).rows
    cap, rpm = own["cap"], own["limits"]["requests_per_minute"]
    data = {
        "label": "tokn_…" + own.get("hint", ""),
        "limit": None if cap is None else _usd(cap["limit_nano"]),
        "limit_remaining": None if cap is None else _usd(cap["left_nano"]),
        "limit_reset": None if cap is None else _RESETS.get(cap["period"]),
        "usage": _usd(own["used_nano"]),
        "usage_daily": _usd(own["used_day_nano"]),
        "usage_weekly": _usd(own["used_week_nano"]),
        "usage_monthly": _usd(own["used_month_nano"]),
        "byok_usage": 0,
        "byok_usage_daily": 0,
        "byok_usage_weekly": 0,
        "byok_usage_monthly": 0,
        "include_byok_in_limit": False,
        "is_free_tier": own["posted_nano"] + own["spent_nano"] == 0,
        "is_management_key": False,
        "is_provisioning_key": False,
        "creator_user_id": None,
        "organization_id": own["organization"],
        "workspace_id": None,
        "allowed_data_regions": [],
        "budgets": [],
        "effective_budget": None,
        "free_model_daily_requests": {"limit": 0, "remaining": 0, "used": 0},
        "expires_at": None if own["expires"] is None else _moment(own["expires"]),
        "rate_limit": {"requests": rpm or -1, "interval": "1m", "note": _NOTE},
        "tokn": {"object": "key", **own},
    }
    await exchange.answer(200, _encode({"data": data}))


def _moment(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def credits_(backing: Backing, exchange: Exchange) -> None:
    """GET /v1/credits: what the account that the key draws on ever had, and what was spent; the rest is its balance."""
    _asked(exchange)
    (money,) = (await _read(backing, exchange, CreditsAsk())).rows
    spent = money["spent_nano"]
    data = {"total_credits": _usd(money["posted_nano"] + spent), "total_usage": _usd(spent)}
    await exchange.answer(200, _encode({"data": data}))


async def activity(backing: Backing, exchange: Exchange) -> None:
    """GET /v1/activity: use by day, model and provider, of the last 30 whole days (UTC) or one of them."""
    asked = _asked(exchange, "date")
    try:
        day = (date.fromisoformat(asked["date"]) - _EPOCH).days if "date" in asked else 0
    except ValueError:
        why = "'date' must be a day, as 2026-11-25."
        raise RequestError(invalid(why, param="date", code="invalid_value")) from None
    rows = (await _read(backing, exchange, ActivityAsk(day), "date")).rows
    await exchange.answer(200, _encode({"data": [_of_day(row) for row in reversed(rows)]}))


def _of_day(row: dict[str, Any]) -> dict[str, Any]:
    cached = row["cached_tokens"] + row["cached_audio_tokens"]
    written = row["cache_write_tokens"] + row["cache_write_1h_tokens"]
    return {
        "date": (_EPOCH + timedelta(days=row["day"])).isoformat(),
        "model": row["model"],
        "model_permaslug": row["model"],
        "endpoint_id": f"{row['provider']}/{row['model']}",
        "provider_name": row["provider"],
        "usage": _usd(row["billed_nano"] - row["refunded_nano"]),
        "byok_usage_inference": 0,
        "requests": row["calls"],
        "prompt_tokens": row["input_tokens"] + cached + written + row["input_audio_tokens"],
        "cached_tokens": cached,
        "completion_tokens": row["output_tokens"] + row["reasoning_tokens"] + row["output_audio_tokens"],
        "reasoning_tokens": row["reasoning_tokens"],
    }


async def generation(backing: Backing, exchange: Exchange) -> None:
    """GET /v1/generation?id=: a receipt as OpenRouter shapes it; what tokn does not know is null."""
    asked = _asked(exchange, "id")
    if not asked.get("id"):
        raise RequestError(invalid("'id' is needed.", param="id", code="missing_required_parameter"))
    told = await found_receipt(backing, exchange, asked["id"])
    cost = _usd(told["billed_nano"])
    unknown = dict.fromkeys(_UNKNOWN)
    data = {
        **unknown,
        "id": told["id"],
        "model": told["model"],
        "provider_name": told["provider"],
        "created_at": _moment(told["created"]),
        "cancelled": told["outcome"] == "cancelled",
        "tokens_prompt": told["prompt_tokens"],
        "tokens_completion": told["completion_tokens"],
        "native_tokens_prompt": told["prompt_tokens"],
        "native_tokens_completion": told["completion_tokens"],
        "native_tokens_reasoning": told["reasoning_tokens"],
        "native_tokens_cached": told["cached_tokens"],
        "total_cost": cost,
        "usage": cost,
        "latency": told["first_byte_ms"],
        "generation_time": max(told["duration_ms"] - told["first_byte_ms"], 0),
        "data_region": "global",
        "is_byok": False,
        "origin": "",
    }
    await exchange.answer(200, _encode({"data": data}))


_UNKNOWN: Final = (
    *("api_type", "app_id", "cache_discount", "external_user", "finish_reason", "http_referer", "streamed"),
    *("moderation_latency", "native_finish_reason", "native_tokens_completion_images", "num_fetches"),
    *(
        "num_input_audio_prompt",
        "num_media_completion",
        "num_media_prompt",
        "num_search_results",
        "preset_id",
    ),
    *("provider_responses", "router", "service_tier", "upstream_id", "upstream_inference_cost", "user_agent"),
    *("web_search_engine", "workspace_id"),
)


async def calls(backing: Backing, exchange: Exchange) -> None:
    """GET /v1/usage: the key's own calls, newest first."""
    asked = _asked(exchange, "limit", "starting_after", "created_gte", "created_lt", "model")
    limit = _number(asked, "limit", PAGE, PAGE_MAX)
    if limit < 1:
        raise RequestError(invalid("'limit' must be at least 1.", param="limit", code="invalid_value"))
    ask = CallsAsk(
        limit,
        asked.get("starting_after", "")[:ID_CHARS_MAX],
        _number(asked, "created_gte", 0, 10**12 - 1),
        _number(asked, "created_lt", 0, 10**12 - 1),
        asked.get("model", "")[:ID_CHARS_MAX],
    )
    reply = await _read(backing, exchange, ask, "starting_after")
    rows = [{"object": "call", "id": row["request_id"], **row} for row in reply.rows]
    listed = {"object": "list", "data": rows, "has_more": reply.more, "next": reply.next or None}
    await exchange.answer(200, _encode(listed))


ROUTES = (
    Row(path="/v1/key", name="key", handler=key),
    Row(path="/v1/auth/key", name="key", handler=key),
    Row(path="/v1/credits", name="credits", handler=credits_),
    Row(path="/v1/activity", name="activity", handler=activity),
    Row(path="/v1/generation", name="own_generation", handler=generation),
    Row(path="/v1/usage", name="usage", handler=calls),
)
