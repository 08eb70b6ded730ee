// Owns what a page of another origin does: it makes the calls that its server lists, and sends back what it could read.
const MADE_BY = { fetched, asked };

// One fetch: all headers that the page may read, and the body in the pieces that arrived, each with a count of its own.
async function fetched({ url, method = "POST", headers, body }) {
  const answer = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
  const pieces = [];
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) pieces.push(part.value);
  return { status: answer.status, headers: Object.fromEntries(answer.headers), pieces };
}

// One call of the official SDK as its documentation has it for browsers.
async function asked({ options, body }) {
  const { default: OpenAI } = await import("/openai/index.mjs");
  const client = new OpenAI({ ...options, maxRetries: 0, dangerouslyAllowBrowser: true });
  if (!body) return { models: (await client.models.list()).data.map((model) => model.id) };
  const answer = await client.chat.completions.create(body);
  if (!body.stream) return { text: answer.choices[0].message.content, id: answer._request_id };
  let text = "";
  for await (const chunk of answer) text += chunk.choices[0]?.delta.content ?? "";
  return { text };
}

async function attempt(step) {
  try {
    return await MADE_BY[step.by](step);
  } catch (error) {
    const { name, status, code, type, requestID, message } = error;
    return { thrown: error.constructor.name, name, status, code, type, requestID, message };
  }
}

const said = {};
for (const step of await (await fetch("/steps")).json()) said[step.name] = await attempt(step);
await fetch("/said", { method: "POST", body: JSON.stringify(said) });
