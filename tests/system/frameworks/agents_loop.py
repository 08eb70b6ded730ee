"""Owns a tool loop of the OpenAI Agents SDK, configured by the environment alone: reads steps, prints what came."""

import asyncio
import json
import sys
from typing import Any

from agents import Agent, Runner, function_tool


async def step(model: str, *, stream: bool) -> dict[str, Any]:
    seen = []

    @function_tool
    def look(at: str) -> str:
        """Looks at something."""
        seen.append(at)
        return f"seen {at}"

    agent = Agent(name="looker", model=model, tools=[look])
    if stream:
        result = Runner.run_streamed(agent, "Look at x and y.")
        async for _ in result.stream_events():
            pass
    else:
        result = await Runner.run(agent, "Look at x and y.")
    used = result.context_wrapper.usage
    return {
        "text": result.final_output,
        "seen": sorted(seen),
        "usage": [used.input_tokens, used.output_tokens],
    }


async def main() -> None:
    sys.stdout.write(json.dumps([await step(**asked) for asked in json.load(sys.stdin)]) + "\n")


asyncio.run(main())
