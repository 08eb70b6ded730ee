// Owns the calls that the official Node SDK makes: one step a line of JSON on stdin, its outcome a line on stdout.
import { createInterface } from "node:readline";
import OpenAI from "openai";

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const steps = {
  chat: (client, body) => client.chat.completions.create(body),
  embeddings: (client, body) => client.embeddings.create(body),
  completions: (client, body) => client.completions.create(body),
  responses: (client, body) => client.responses.create(body),
  // The SDK's own accumulator: the response that it makes of a stream's events.
  response: (client, { stream, ...body }) => client.responses.stream(body).finalResponse(),
  models: async (client) => (await client.models.list()).data,
  model: (client, body) => client.models.retrieve(body.id),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { step, body, options } = JSON.parse(line);
  const client = new OpenAI(options);
  let outcome;
  try {
    const answer = await steps[step](client, body);
    outcome = { ok: body?.stream && step !== "response" ? await collect(answer) : answer };
  } catch (error) {
    const { message, status, type, param, code, requestID } = error;
    outcome = { error: { class: error.constructor.name, message, status, type, param, code, requestID } };
  }
  process.stdout.write(JSON.stringify(outcome) + "\n");
}
