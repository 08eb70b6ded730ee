// Owns a tool loop of the AI SDK: streams it to its end and prints what came, as one line of JSON.
// It runs after the lines of docs/clients.md, which make `openai`.
import { jsonSchema, stepCountIs, streamText, tool } from "ai";

const { model, store } = JSON.parse(process.argv[2]);
const seen = [];
const look = tool({
  description: "Looks at something.",
  inputSchema: jsonSchema({ type: "object", properties: { at: { type: "string" } }, required: ["at"] }),
  execute: async ({ at }) => {
    seen.push(at);
    return `seen ${at}`;
  },
});
const errors = [];
const result = streamText({
  model: openai(model),
  tools: { look },
  prompt: "Look at x and y.",
  stopWhen: stepCountIs(3),
  maxRetries: 0,
  providerOptions: { openai: { store } },
  onError: ({ error }) => errors.push(String(error)),
});
const said = await result.text.catch((error) => {
  throw new Error(errors.join("; "), { cause: error }); // it does not say what ended the stream
});
process.stdout.write(JSON.stringify({ text: said, seen, errors }) + "\n");
