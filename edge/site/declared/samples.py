"""Owns requests as one writes them: curl, and the official SDKs in Python and Node."""

import json
from typing import Any, Final

from edge.site.declared.base import AUTHORIZED, BASE, Sample
from edge.site.site import ROOT

MODEL: Final = "tokn-sandbox"


def _curl(path: str, body: dict[str, Any]) -> Sample:
    data = json.dumps(body, indent=2).replace("\n", "\n  ")
    lines = (
        f"curl {BASE}{path}",
        f"  {AUTHORIZED}",
        '  -H "Content-Type: application/json"',
        f"  -d '{data}'",
    )
    return Sample("curl", " \\\n".join(lines))


def _python(call: str, shown: str) -> Sample:
    return Sample(
        "Python",
        "import os\n\nfrom openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{BASE}", api_key=os.environ["TOKN_API_KEY"])\n'
        f"{call}\nprint({shown})",
    )


def _node(call: str, shown: str) -> Sample:
    return Sample(
        "Node",
        'import OpenAI from "openai";\n\n'
        f'const client = new OpenAI({{ baseURL: "{BASE}", apiKey: process.env.TOKN_API_KEY }});\n'
        f"{call}\nconsole.log({shown});",
    )


_SAY: Final = [{"role": "user", "content": "Hello from tokn$"}]
_WRITTEN: Final = '[{"role": "user", "content": "Hello from tokn$"}]'
CHAT: Final = (
    _curl("/chat/completions", {"model": MODEL, "messages": _SAY}),
    _python(
        f'res = client.chat.completions.create(\n    model="{MODEL}",\n    messages={_WRITTEN},\n)',
        "res.choices[0].message.content",
    ),
    _node(
        f'const res = await client.chat.completions.create({{\n  model: "{MODEL}",\n  messages: [{{ role: "user", content: "Hello from tokn$" }}],\n}});',
        "res.choices[0].message.content",
    ),
)
COMPLETIONS: Final = (
    _curl("/completions", {"model": MODEL, "prompt": "Once upon a time", "max_tokens": 16}),
)
RESPONSES: Final = (
    _curl("/responses", {"model": MODEL, "input": "Hello from tokn$"}),
    _python(f'res = client.responses.create(model="{MODEL}", input="Hello from tokn$")', "res.output_text"),
    _node(
        f'const res = await client.responses.create({{ model: "{MODEL}", input: "Hello from tokn$" }});',
        "res.output_text",
    ),
)
MESSAGES: Final = (
    _curl("/messages", {"model": MODEL, "max_tokens": 100, "messages": _SAY}),
    Sample(
        "Python",
        "import os\n\nfrom anthropic import Anthropic\n\n"
        f'client = Anthropic(base_url="{ROOT}", api_key=os.environ["TOKN_API_KEY"])\n'
        f'res = client.messages.create(\n    model="{MODEL}",\n    max_tokens=100,\n    messages={_WRITTEN},\n)\nprint(res.content[0].text)',
    ),
)
COUNT: Final = (_curl("/messages/count_tokens", {"model": MODEL, "messages": _SAY}),)
EMBEDDINGS: Final = (
    _curl("/embeddings", {"model": MODEL, "input": ["the sea", "the shore"]}),
    _python(
        f'res = client.embeddings.create(model="{MODEL}", input="the sea")', "len(res.data[0].embedding)"
    ),
    _node(
        f'const res = await client.embeddings.create({{ model: "{MODEL}", input: "the sea" }});',
        "res.data[0].embedding.length",
    ),
)
