"""Owns texts of many kinds, made from a seed: what prompts and answers are made of, for estimates of their tokens."""

import base64
import functools
import json
import random
import uuid
from collections.abc import Callable
from pathlib import Path

LANGUAGES = json.loads((Path(__file__).parents[1] / "fixtures/estimates/languages.json").read_bytes())
NAMES = (
    "account", "balance", "buffer", "callback", "channel", "column", "counter", "customer", "deadline", "entry", "event",
    "filter", "handler", "index", "invoice", "item", "key", "label", "ledger", "limit", "message", "metric", "node",
    "offset", "order", "parent", "payload", "pool", "price", "queue", "reader", "record", "region", "request", "result",
    "retry", "row", "schema", "session", "size", "source", "state", "status", "stream", "table", "target", "timeout",
    "token", "user", "value", "vendor", "window", "worker", "writer",
)  # fmt: skip
Make = Callable[[random.Random], str]
EMOJI = "😀😃😄😁😆😅🤣😂🙂🙃😉😊😇🥰😍🤩😘😋😛😜🤪😝🤑🤗🤭🤫🤔🤐🤨😐😑😶🙄😏🚀🔥🎉👍🙏💡📈🐛🍕🌍"


def _snake(r: random.Random) -> str:
    return "_".join(r.sample(NAMES, r.choice((1, 2, 2, 3))))


def _camel(r: random.Random) -> str:
    first, *rest = r.sample(NAMES, r.choice((1, 2, 2, 3)))
    return first + "".join(map(str.capitalize, rest))


def _sentence(r: random.Random, language: str = "english") -> str:
    return str(r.choice(LANGUAGES[language]))


def _phrase(r: random.Random) -> str:
    words = _sentence(r).rstrip(".").split()
    start = r.randrange(max(1, len(words) - 6))
    return " ".join(words[start : start + r.randrange(3, 7)])


def _python(r: random.Random) -> str:
    a, b, c = _snake(r), _snake(r), _snake(r)
    return (
        f"def {a}({b}: int, {c}: str | None = None) -> dict[str, int]:\n"
        f'    """{_phrase(r).capitalize()}."""\n'
        f'    if {c} is None:\n        raise ValueError(f"{_phrase(r)}: {{{b}!r}}")\n'
        f"    for index, {r.choice(NAMES)} in enumerate(self._{a}[:{r.randrange(99)}]):\n"
        f'        total += {b} * index  # {_phrase(r)}\n    return {{"{b}": total}}\n\n\n'
    )


def _javascript(r: random.Random) -> str:
    a, b, c = _camel(r), _camel(r), _camel(r)
    return (
        f"export async function {a}({{ {b}, {c} = {r.randrange(500)} }}) {{\n"
        f"  const response = await fetch(`${{baseUrl}}/{b}/${{{c}}}`, {{ method: '{r.choice(('GET', 'POST'))}' }});\n"
        f"  if (!response.ok) {{\n    throw new Error('{_phrase(r)}');\n  }}\n"
        f"  // {_phrase(r)}\n  return (await response.json()).{b}.map(({c[0]}) => {c[0]}.{a} ?? null);\n}}\n\n"
    )


def _minified(r: random.Random) -> str:
    e, t, n = r.sample("abcdefghijklmnopqrstuvwxyz", 3)
    return (
        f"function {e}{t}({e},{t}){{var {n}={e}.{_camel(r)};return {n}&&{n}.length>{r.randrange(9)}?{t}({n}[0]):"
        f"void 0!=={t}&&(this.{_camel(r)}={t}),{e}}}{n}.prototype.{_camel(r)}=function({e}){{return!!{e}&&{t}({e},"
        f'"{r.choice(NAMES)}")}},'
    )


def _typescript(r: random.Random) -> str:
    a, b = _camel(r), _camel(r)
    return (
        f"export interface {a.capitalize()} {{\n  readonly {b}: string;\n  {_camel(r)}?: Record<string, number>;\n"
        f"  {_camel(r)}: Array<{b.capitalize()} | undefined>;\n}}\n\n"
        f"/** {_phrase(r).capitalize()}. */\nconst {a}: {a.capitalize()} = {{ {b}: '{_phrase(r)}' }};\n\n"
    )


def _rust(r: random.Random) -> str:
    a, b = _snake(r), _snake(r)
    return (
        f"impl {a.title().replace('_', '')} {{\n    pub fn {b}(&mut self, {a}: &[u8]) -> Result<usize, Error> {{\n"
        f"        let mut {b} = Vec::with_capacity({r.randrange(4096)});\n"
        f"        while let Some({a[:3]}) = self.{a}.next() {{\n            {b}.push({a[:3]}?);\n        }}\n"
        f"        // {_phrase(r)}\n        Ok({b}.len())\n    }}\n}}\n\n"
    )


def _c(r: random.Random) -> str:
    a, b = _snake(r), _snake(r)
    return (
        f"static int {a}(struct {b} *{b[:2]}, const char *name, size_t len)\n{{\n"
        f"\tif (!{b[:2]} || len > {a.upper()}_MAX)\n\t\treturn -EINVAL;\n\n"
        f"\t/* {_phrase(r)} */\n\tmemcpy({b[:2]}->{a}, name, len);\n\t{b[:2]}->flags |= 0x{r.randrange(256):02x};\n"
        f"\treturn 0;\n}}\n\n"
    )


def _go(r: random.Random) -> str:
    a, b = _camel(r), _camel(r)
    return (
        f"func (s *{a.capitalize()}) {b.capitalize()}(ctx context.Context, {b} []string) (map[string]int, error) {{\n"
        f'\tif err := s.{a}(ctx); err != nil {{\n\t\treturn nil, fmt.Errorf("{_phrase(r)}: %w", err)\n\t}}\n'
        f"\t// {_phrase(r)}\n\treturn s.{b}, nil\n}}\n\n"
    )


def _sql(r: random.Random) -> str:
    a, b, c = r.sample(NAMES, 3)
    return (
        f"SELECT {a}.id, {a}.{b}_id, SUM({c}.amount_nano) AS total\nFROM {a}s AS {a}\n"
        f"LEFT JOIN {c}s AS {c} ON {c}.{a}_id = {a}.id AND {c}.status = '{r.choice(('open', 'closed'))}'\n"
        f"WHERE {a}.created_at >= '2026-0{r.randrange(1, 10)}-1{r.randrange(10)}' AND {b} IS NOT NULL\n"
        f"GROUP BY {a}.id, {a}.{b}_id HAVING COUNT(*) > {r.randrange(99)}\nORDER BY total DESC LIMIT {r.randrange(999)};\n\n"
    )


def _html(r: random.Random) -> str:
    return (
        f'<div class="{r.choice(NAMES)}-{r.choice(NAMES)} mt-{r.randrange(9)}" id="{_camel(r)}">\n'
        f'  <a href="/{r.choice(NAMES)}/{r.randrange(9999)}" title="{_phrase(r)}">{_phrase(r).capitalize()}</a>\n'
        f"  <p>{_sentence(r)}</p>\n  <ul>\n    <li><strong>{_phrase(r)}</strong></li>\n  </ul>\n</div>\n"
    )


def _css(r: random.Random) -> str:
    return (
        f".{r.choice(NAMES)}-{r.choice(NAMES)}:hover > .{r.choice(NAMES)} {{\n  margin: {r.randrange(40)}px auto;\n"
        f"  color: #{r.randrange(1 << 24):06x};\n  background: rgba({r.randrange(256)}, {r.randrange(256)}, 0, 0.{r.randrange(9)});\n"
        f"  transition: opacity .{r.randrange(9)}s ease-in-out;\n  display: inline-flex;\n}}\n\n"
    )


def _shell(r: random.Random) -> str:
    a = _snake(r)
    return (
        f"#!/usr/bin/env bash\nset -euo pipefail\n{a.upper()}=${{1:-{r.randrange(9000)}}}\n"
        f'for file in "$HOME"/{r.choice(NAMES)}/*.log; do\n  grep -E "^{r.choice(NAMES)}=[0-9]+" "$file" | sort -u | head -n {r.randrange(99)} '
        f'>> /var/tmp/{a}.txt || true\ndone\ncurl -fsS -X POST "http://localhost:${{{a.upper()}}}/{r.choice(NAMES)}" -d @{a}.txt\n'
    )


def _object(r: random.Random) -> dict[str, object]:
    return {
        "id": r.randrange(10**9),
        _snake(r): _phrase(r),
        _camel(r): r.random() < 0.5,
        r.choice(NAMES): [round(r.random() * 100, 2), None, r.choice(NAMES)],
        "created": f"2026-{r.randrange(1, 13):02}-{r.randrange(1, 29):02}T{r.randrange(24):02}:{r.randrange(60):02}:00Z",
        "nested": {_snake(r): r.randrange(1000), _snake(r): {"name": _phrase(r)}},
    }


def _tools(r: random.Random) -> str:
    properties = {
        _snake(r): {"type": r.choice(("string", "integer", "boolean")), "description": _sentence(r)}
        for _ in range(3)
    }
    function = {
        "name": _snake(r),
        "description": _sentence(r),
        "parameters": {"type": "object", "properties": properties, "required": [*properties][:2]},
    }
    return json.dumps({"type": "function", "function": function}) + ","


def _yaml(r: random.Random) -> str:
    return (
        f"- name: {_phrase(r)}\n  {_snake(r)}: {r.randrange(9999)}\n  {r.choice(NAMES)}:\n    - {_snake(r)}\n    - {_camel(r)}\n"
        f"  enabled: {r.choice(('true', 'false'))}\n  image: registry/{r.choice(NAMES)}:{r.randrange(9)}.{r.randrange(30)}.{r.randrange(9)}\n"
    )


def _xml(r: random.Random) -> str:
    a, b = r.choice(NAMES), r.choice(NAMES)
    return (
        f'<{a} id="{r.randrange(99999)}" type="{b}">\n  <{b}>{_phrase(r)}</{b}>\n  <amount currency="EUR">{r.randrange(9999)}.{r.randrange(99):02}</amount>\n'
        f"  <updated>2026-0{r.randrange(1, 9)}-0{r.randrange(1, 9)}</updated>\n</{a}>\n"
    )


def _csv(r: random.Random) -> str:
    return (
        f"{r.randrange(10**6)},{r.choice(NAMES)},{r.random() * 1000:.4f},{r.random():.6f},2026-{r.randrange(1, 13):02}-{r.randrange(1, 29):02},"
        f"{r.choice(('yes', 'no', ''))},{r.randrange(10**4)}\n"
    )


def _log(r: random.Random) -> str:
    return (
        f"2026-11-{r.randrange(1, 29):02}T{r.randrange(24):02}:{r.randrange(60):02}:{r.randrange(60):02}.{r.randrange(1000):03}Z "
        f"{r.choice(('INFO', 'WARN', 'ERROR', 'DEBUG'))} [{r.choice(NAMES)}-{r.randrange(32)}] {_snake(r)}={r.randrange(10**5)} "
        f"ip=10.{r.randrange(256)}.{r.randrange(256)}.{r.randrange(256)} req_{r.randrange(1 << 48):012x} took {r.random() * 900:.1f}ms\n"
    )


def _trace(r: random.Random) -> str:
    return (
        f'  File "/srv/app/{r.choice(NAMES)}/{_snake(r)}.py", line {r.randrange(900)}, in {_snake(r)}\n'
        f"    return await self._{_snake(r)}({r.choice(NAMES)}, timeout={r.randrange(60)})\n"
    )


def _diff(r: random.Random) -> str:
    a, b = _snake(r), _snake(r)
    return (
        f"@@ -{r.randrange(900)},7 +{r.randrange(900)},9 @@ def {a}(self):\n     {a} = self.{b}\n-    if {a} > {r.randrange(99)}:\n"
        f'+    if {a} is not None and {a} >= {r.randrange(99)}:\n+        log.warning("{_phrase(r)}")\n         return {b}\n'
    )


def _markdown(r: random.Random) -> str:
    return (
        f"## {_phrase(r).capitalize()}\n\n{_sentence(r)} {_sentence(r)}\n\n- **{_phrase(r).capitalize()}**: {_phrase(r)}.\n"
        f"- `{_snake(r)}()` returns [{_phrase(r)}](https://example.com/{r.choice(NAMES)}).\n\n```bash\nmake {r.choice(NAMES)}\n```\n\n"
    )


def _table(r: random.Random) -> str:
    return f"| {r.choice(NAMES)} | {r.randrange(9999)} | {r.random():.3f} | {_phrase(r)} |\n"


def _url(r: random.Random) -> str:
    return (
        f"https://{r.choice(NAMES)}.example.com/{r.choice(NAMES)}/{r.randrange(10**6)}?{r.choice(NAMES)}={r.randrange(99)}"
        f"&{_camel(r)}={r.choice(NAMES)}%20{r.choice(NAMES)}\n"
    )


def _mail(r: random.Random) -> str:
    return f"{r.choice(NAMES)}.{r.choice(NAMES)}{r.randrange(99)}@{r.choice(NAMES)}-mail.example.org, "


def _jwt(r: random.Random) -> str:
    return (
        ".".join(base64.urlsafe_b64encode(r.randbytes(n)).decode().rstrip("=") for n in (27, 90, 32)) + "\n"
    )


def _escaped(r: random.Random) -> str:
    return json.dumps({"name": _sentence(r, "russian"), "text": _sentence(r, "chinese")}) + "\n"


def _letters(r: random.Random) -> str:
    return "".join(r.choices("abcdefghijklmnopqrstuvwxyz", k=r.randrange(3, 12))) + " "


def _latex(r: random.Random) -> str:
    return (
        f"\\begin{{equation}}\n  \\sum_{{i={r.randrange(9)}}}^{{n}} \\frac{{x_i^{{{r.randrange(9)}}}}}{{\\sqrt{{\\alpha + {r.randrange(99)}}}}} "
        f"\\leq \\int_0^\\infty e^{{-{r.randrange(9)}t}} \\, dt\n\\end{{equation}}\n{_sentence(r)}\n"
    )


def _symbols(r: random.Random) -> str:
    return "".join(r.choices("∀∃∈∉∑∏√∞≤≥≠≈→⇒⇔⊂⊆∅±÷", k=3)) + r.choice((" ", " x ", " n "))


def _box(r: random.Random) -> str:
    wide = r.randrange(8, 30)
    return f"┌{'─' * wide}┐\n│ {r.choice(NAMES):<{wide - 1}}│\n└{'─' * wide}┘\n"


def _mixed(r: random.Random) -> str:
    return "".join(
        (_sentence(r), "\n", _python(r), _log(r), _sentence(r, r.choice(("german", "chinese"))), "\n")
    )


def _titled(r: random.Random) -> str:
    return _sentence(r).title() + " "


def _poem(r: random.Random) -> str:
    return _phrase(r) + ",\n"


def _translated(r: random.Random) -> str:
    return f"{_sentence(r)}\n{_sentence(r, r.choice(('french', 'spanish', 'japanese', 'arabic')))}\n\n"


_MAKERS: dict[str, Make] = {
    "python": _python,
    "javascript": _javascript,
    "minified javascript": _minified,
    "typescript": _typescript,
    "rust": _rust,
    "c": _c,
    "go": _go,
    "sql": _sql,
    "html": _html,
    "css": _css,
    "shell": _shell,
    "json compact": lambda r: json.dumps(_object(r), separators=(",", ":")) + "\n",
    "json indented": lambda r: json.dumps(_object(r), indent=2) + ",\n",
    "tool schemas": _tools,
    "yaml": _yaml,
    "xml": _xml,
    "csv": _csv,
    "log lines": _log,
    "stack traces": _trace,
    "diffs": _diff,
    "markdown": _markdown,
    "markdown tables": _table,
    "urls": _url,
    "mail addresses": _mail,
    "uuids": lambda r: str(uuid.UUID(int=r.getrandbits(128))) + "\n",
    "hex": lambda r: r.randbytes(64).hex(),
    "hex dump": lambda r: f"{r.randrange(1 << 20):08x}  {r.randbytes(16).hex(' ')}\n",
    "base64": lambda r: base64.b64encode(r.randbytes(57)).decode(),
    "base64 lines": lambda r: base64.b64encode(r.randbytes(57)).decode() + "\n",
    "json web tokens": _jwt,
    "digits": lambda r: "".join(r.choices("0123456789", k=60)),
    "numbers": lambda r: f"{r.uniform(-1000, 1000):.4f} ",
    "unicode escapes": _escaped,
    "emoji": lambda r: "".join(r.choices(EMOJI, k=8)),
    "words and emoji": lambda r: f"{_phrase(r)} {r.choice(EMOJI)}{r.choice(EMOJI)} ",
    "mathematical symbols": _symbols,
    "latex": _latex,
    "box drawing": _box,
    "capital letters": lambda r: _sentence(r).upper() + " ",
    "title case": _titled,
    "random letters": _letters,
    "verses": _poem,
    "translations": _translated,
    "a bit of everything": _mixed,
}
KINDS = (*LANGUAGES, *_MAKERS)


@functools.lru_cache(maxsize=128)
def text(kind: str, seed: int, size: int) -> str:
    """So many characters of a kind; another text for each seed."""
    chance = random.Random(f"{kind} {seed}")
    make = _MAKERS.get(kind) or (lambda r: _sentence(r, kind) + r.choice((" ", " ", "\n\n")))
    parts: list[str] = []
    length = 0
    while length < size:
        parts.append(make(chance))
        length += len(parts[-1])
    return "".join(parts)[:size]
