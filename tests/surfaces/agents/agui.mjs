// The published client of AG-UI, driven by lines of JSON: {url, token, threadId, messages?, resume?}.
// For each it prints what the client made of the run.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { HttpAgent } = createRequire(process.argv[2] + "/")("@ag-ui/client");

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const agent = new HttpAgent({
    url: asked.url,
    headers: { Authorization: `Bearer ${asked.token}` },
    threadId: asked.threadId,
    initialMessages: asked.messages ?? [],
  });
  const events = [];
  let error = null;
  let result = null;
  try {
    result = await agent.runAgent(
      { runId: asked.runId, ...(asked.resume ? { resume: asked.resume } : {}) },
      {
        onEvent: ({ event }) => void events.push(event),
        onRunErrorEvent: ({ event }) => void (error = event.message),
      },
    );
  } catch (failure) {
    error ??= String(failure?.message ?? failure);
  }
  console.log(JSON.stringify({ events, error, messages: agent.messages, result }));
}
