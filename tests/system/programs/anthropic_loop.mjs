// Owns a tool loop of Anthropic's SDK by its own accumulator, and prints what came, as one line of JSON.
// It runs after the lines of docs/clients.md, which make `client`.
const { model } = JSON.parse(process.argv[2]);
const input_schema = { type: "object", properties: { at: { type: "string" } }, required: ["at"] };
const tools = [{ name: "look", input_schema }];
const turns = [{ role: "user", content: "Look at x and y." }];
const seen = [];
let said;
do {
  said = await client.messages.stream({ model, max_tokens: 100, messages: turns, tools }).finalMessage();
  if (said.stop_reason !== "tool_use") break;
  const calls = said.content.filter((block) => block.type === "tool_use");
  const results = calls.map(({ id }) => ({ type: "tool_result", tool_use_id: id, content: "seen" }));
  seen.push(...calls.map(({ input }) => input.at));
  turns.push({ role: "assistant", content: said.content }, { role: "user", content: results });
} while (turns.length < 20);
const { input_tokens, output_tokens } = said.usage;
console.log(JSON.stringify({ text: said.content[0].text, seen, usage: [input_tokens, output_tokens] }));
