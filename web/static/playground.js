// Owns the playground: one call of a model from a form, as it streams, with its figures and its receipt.
// The key is in the form's field and nowhere else. A key of the address is taken off it, and used once it is accepted.

const $ = (id) => document.getElementById(id);
const form = $("ask");
const base = $("playground").dataset.base;
const CHAT = "/v1/chat/completions";
const NONE = "–";
let running = null;

const value = (name) => form.elements[name].value;
const show = (id, text) => ($(id).textContent = text);
const authorized = (key) => ({ authorization: `Bearer ${key}` });
const usd = (nano) => {
  const sign = nano < 0 ? "-" : "";
  const [whole, rest] = [BigInt(Math.abs(nano)) / 1_000_000_000n, BigInt(Math.abs(nano)) % 1_000_000_000n];
  return `${sign}$${whole}.${String(rest).padStart(9, "0").replace(/0+$/, "").padEnd(2, "0")}`;
};

function body() {
  const messages = [{ role: "user", content: value("prompt") }];
  if (value("system")) messages.unshift({ role: "system", content: value("system") });
  const asked = { model: value("model"), messages };
  if (value("temperature")) asked.temperature = Number(value("temperature"));
  if (value("max_tokens")) asked.max_tokens = Number(value("max_tokens"));
  if (form.elements.stream.checked) Object.assign(asked, { stream: true, stream_options: { include_usage: true } });
  return asked;
}

// The same request for other programs.

const json = (one, space) => JSON.stringify(one, null, space);
const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
const LITERALS = new Map([[true, "True"], [false, "False"], [null, "None"]]);
const python = (one) => {
  if (Array.isArray(one)) return `[${one.map(python).join(", ")}]`;
  if (one && typeof one === "object") return `{${Object.entries(one).map(([name, inner]) => `${json(name)}: ${python(inner)}`).join(", ")}}`;
  return LITERALS.get(one) ?? json(one);
};

function describe() {
  const asked = body();
  show(
    "code-curl",
    [`curl ${asked.stream ? "-N " : ""}${base}/chat/completions`, '-H "Authorization: Bearer $TOKN_API_KEY"', '-H "Content-Type: application/json"', `-d ${quoted(json(asked, 2))}`].join(" \\\n  "),
  );
  const fields = Object.entries(asked).map(([name, one]) => `    ${name}=${python(one)},\n`).join("");
  const read = asked.stream
    ? 'for chunk in answer:\n    if chunk.choices and chunk.choices[0].delta.content:\n        print(chunk.choices[0].delta.content, end="")'
    : "print(answer.choices[0].message.content)";
  show("code-python", `import os\n\nfrom openai import OpenAI\n\nclient = OpenAI(base_url=${json(base)}, api_key=os.environ["TOKN_API_KEY"])\nanswer = client.chat.completions.create(\n${fields})\n${read}`);
  const print = asked.stream
    ? 'for await (const chunk of answer) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");'
    : "console.log(answer.choices[0].message.content);";
  show("code-node", `import OpenAI from "openai";\n\nconst client = new OpenAI({ baseURL: ${json(base)}, apiKey: process.env.TOKN_API_KEY });\nconst answer = await client.chat.completions.create(${json(asked, 2)});\n${print}`);
}

// Who asks, and what can be asked.

async function meet() {
  const key = value("key").trim();
  const models = form.elements.model;
  show("holder", "");
  if (!key) return;
  try {
    const [listed, held] = await Promise.all(["/v1/models", "/v1/key"].map((path) => fetch(path, { headers: authorized(key) })));
    if (value("key").trim() !== key) return;
    if (!listed.ok) return fail(listed, await listed.text());
    const names = (await listed.json()).data.filter((one) => one.capabilities?.chat !== false).map((one) => one.id);
    const chosen = models.value;
    models.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
    const own = held.ok ? (await held.json()).data : null;
    const many = `${names.length} model${names.length === 1 ? "" : "s"}`;
    show("holder", `${own ? `${own.tokn.name || own.label} · ${usd(own.tokn.available_nano)} available · ` : ""}${many}`);
    $("failure").hidden = true;
  } catch (error) {
    show("holder", `The gateway does not answer: ${error.message}`);
  }
  describe();
}

function offer() {
  const key = new URLSearchParams(location.hash.slice(1)).get("k");
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  if (!key) return;
  show("offered-label", `tokn_…${key.slice(-4)}`);
  $("offered").hidden = false;
  $("accept").onclick = () => {
    form.elements.key.value = key;
    $("offered").hidden = true;
    meet();
  };
  $("decline").onclick = () => ($("offered").hidden = true);
}

// The call.

function fail(answer, text) {
  let shown = text;
  try {
    shown = json(JSON.parse(text), 2);
  } catch {} // it is no JSON: shown as it came
  const again = answer.headers.get("retry-after");
  show("failure-title", `${answer.status} ${answer.statusText}${again ? ` · retry after ${again} s` : ""}`);
  show("failure-body", shown);
  $("failure").hidden = false;
}

function fresh() {
  for (const id of ["n-cost", "n-first", "n-speed", "n-total", "classes", "request-id"]) show(id, NONE);
  for (const id of ["answer", "reasoning", "receipt"]) show(id, "");
  for (const id of ["failure", "thought", "receipt-box"]) $(id).hidden = true;
}

function take(delta, times) {
  if (!delta) return;
  if (delta.reasoning_content || delta.content) times.first ??= performance.now();
  if (delta.reasoning_content) {
    $("thought").hidden = false;
    $("reasoning").append(delta.reasoning_content);
  }
  if (delta.content || delta.refusal) $("answer").append(delta.content || delta.refusal);
  for (const call of delta.tool_calls ?? []) $("answer").append(json(call));
}

async function stream(answer, times) {
  let kept = "";
  for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
    const events = (kept + piece).split("\n\n");
    kept = events.pop();
    for (const event of events) {
      const data = event.startsWith("data: ") ? event.slice(6) : "";
      if (!data || data === "[DONE]") continue;
      const told = JSON.parse(data);
      if (told.error) fail(answer, data);
      else take(told.choices[0]?.delta, times);
    }
  }
}

async function receive(key, id, times) {
  const answer = await fetch(`/v1/generations/${id}`, { headers: authorized(key) });
  if (!answer.ok) return;
  const told = await answer.json();
  show("n-cost", `$${told.cost_usd}`);
  const classes = Object.entries(told.tokens).filter(([, count]) => count);
  show("classes", classes.map(([name, count]) => `${name.replaceAll("_", " ")} ${count.toLocaleString("en")}`).join(" · ") || "none");
  // What came in one piece was written before: its time is that of the whole call.
  const paced = times.end - times.first > 100;
  const spent = (times.end - (paced ? times.first : times.begun)) / 1000;
  if (told.completion_tokens && spent > 0) show("n-speed", (told.completion_tokens / spent).toFixed(1));
  show("receipt", json(told, 2));
  $("receipt-box").hidden = false;
}

async function send(event) {
  event.preventDefault();
  if (running) return;
  const key = value("key").trim();
  const times = { begun: performance.now() };
  let id = null;
  running = new AbortController();
  fresh();
  busy(true);
  show("state", "Waiting");
  try {
    const headers = { ...authorized(key), "content-type": "application/json" };
    const answer = await fetch(CHAT, { method: "POST", headers, body: json(body()), signal: running.signal });
    id = answer.headers.get("x-request-id");
    show("request-id", id);
    show("state", "Answering");
    if (!answer.ok) fail(answer, await answer.text());
    else if (answer.headers.get("content-type").startsWith("text/event-stream")) await stream(answer, times);
    else take((await answer.json()).choices[0].message, times);
    show("state", $("failure").hidden ? "Done" : "Failed");
  } catch (error) {
    show("state", error.name === "AbortError" ? "Stopped" : `Broken off: ${error.message}`);
  }
  times.end = performance.now();
  if (times.first) show("n-first", `${Math.round(times.first - times.begun)} ms`);
  show("n-total", `${Math.round(times.end - times.begun)} ms`);
  busy(false);
  running = null;
  if (id && $("failure").hidden) await receive(key, id, times).catch(() => {});
}

function busy(is) {
  $("send").disabled = is;
  $("stop").disabled = !is;
  $("answer").setAttribute("aria-busy", is);
}

form.addEventListener("submit", send);
form.addEventListener("input", describe);
form.elements.key.addEventListener("change", meet);
$("stop").addEventListener("click", () => running?.abort());
addEventListener("pagehide", () => form.reset()); // nothing is left for who comes back
addEventListener("hashchange", offer);
offer();
describe();
