"""Owns a tool loop and a typed answer of Pydantic AI: reads steps, runs the document's block for each, prints what came."""

import asyncio
import json
import sys
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent


class Place(BaseModel):
    """What a typed answer is."""

    at: str


async def step(code: str, use: str, *, stream: bool = False, typed: bool = False) -> dict[str, Any]:
    defined: dict[str, Any] = {}
    exec(code, defined)
    agent: Agent[None, Any] = Agent(defined[use], output_type=Place if typed else str)
    seen = []

    @agent.tool_plain
    def look(at: str) -> str:
        """Looks at something."""
        seen.append(at)
        return f"seen {at}"

    if stream:
        async with agent.run_stream("Look at x and y.") as result:
            output = await result.get_output()
            usage = result.usage
    else:
        ran = await agent.run("Look at x and y.")
        output, usage = ran.output, ran.usage
    used = usage() if callable(usage) else usage
    text = output.at if typed else output
    return {"text": text, "seen": sorted(seen), "usage": [used.input_tokens, used.output_tokens]}


async def main() -> None:
    sys.stdout.write(json.dumps([await step(**asked) for asked in json.load(sys.stdin)]) + "\n")


asyncio.run(main())
