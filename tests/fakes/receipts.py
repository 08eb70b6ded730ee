"""Owns how a system test looks up what a call cost."""

from typing import Any

import httpx

from tests.fakes.tokn import wait_for


def receipt(http: httpx.Client, request_id: str) -> dict[str, Any]:
    """The receipt of a call, once it is in the books."""

    def look() -> Any:
        answer = http.get(f"/v1/generations/{request_id}")
        return answer.json() if answer.status_code == 200 else None

    return dict(wait_for(look, 10, f"a receipt of {request_id}"))
