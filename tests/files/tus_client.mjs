// The published tus client, driven by a test: what it does is told on standard output, a JSON line
// each; before a request whose number is in `stops` it waits for a line on standard input.
import fs from "node:fs";
import readline from "node:readline";
import { createRequire } from "node:module";

const options = JSON.parse(process.argv[2]);
const tus = createRequire(options.modules + "/")("tus-js-client");

const told = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
let requests = 0;

const upload = new tus.Upload(fs.createReadStream(options.path), {
  endpoint: options.endpoint,
  headers: { Authorization: `Bearer ${options.token}` },
  metadata: options.metadata,
  chunkSize: options.chunkSize,
  uploadSize: fs.statSync(options.path).size,
  uploadDataDuringCreation: options.withCreation,
  urlStorage: new tus.FileUrlStorage(options.storage),
  storeFingerprintForResuming: true,
  fingerprint: async () => "the-file",
  retryDelays: Array(100).fill(100),
  onBeforeRequest: async (request) => {
    const method = request.getMethod();
    const offset = request.getHeader("Upload-Offset") ?? null;
    if (options.stops.includes(requests++)) {
      told({ waits: method, offset });
      await lines.next();
    }
    told({ method, offset });
  },
  onError: (error) => {
    told({ error: String(error) });
    process.exit(1);
  },
  onSuccess: () => {
    told({ done: upload.url });
    process.exit(0);
  },
});

if (options.resume) {
  const previous = await upload.findPreviousUploads();
  told({ found: previous.length });
  upload.resumeFromPreviousUpload(previous[0]);
}
upload.start();
if (options.pauseAfter) {
  upload.options.onChunkComplete = async (size, accepted) => {
    if (accepted >= options.pauseAfter) {
      await upload.abort();
      told({ paused: accepted });
      process.exit(0);
    }
  };
}
