// Owns a tool loop of OpenAI's SDK by its own accumulator, and prints what came, as one line of JSON.
// It runs after the lines of docs/clients.md, which make `client`.
const { model } = JSON.parse(process.argv[2]);
const parameters = { type: "object", properties: { at: { type: "string" } }, required: ["at"] };
const tools = [{ type: "function", name: "look", parameters, strict: false }];
const input = [{ role: "user", content: "Look at x and y." }];
const seen = [];
let said;
do {
  said = await client.responses.stream({ model, input, tools, store: false }).finalResponse();
  const calls = said.output.filter((item) => item.type === "function_call");
  input.push(...said.output);
  for (const { call_id, arguments: text } of calls) {
    seen.push(JSON.parse(text).at);
    input.push({ type: "function_call_output", call_id, output: "seen" });
  }
  if (!calls.length) break;
} while (input.length < 20);
const { input_tokens, output_tokens } = said.usage;
console.log(JSON.stringify({ text: said.output_text, seen, usage: [input_tokens, output_tokens] }));
