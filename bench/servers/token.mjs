// The check every peer makes on upgrade: an HS256 signature and an expiry, compared in constant time.
import { createHmac, timingSafeEqual } from "node:crypto";

const secret = process.env.BENCH_SECRET;

/** Return the claims of a valid token in `url`, or null. */
export function claims(url) {
  const token = new URL(url, "http://bench").searchParams.get("token") ?? "";
  const [head, body, signature] = token.split(".");
  if (!signature) return null;
  const wanted = createHmac("sha256", secret).update(`${head}.${body}`).digest();
  const given = Buffer.from(signature, "base64url");
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return null;
  const found = JSON.parse(Buffer.from(body, "base64url").toString());
  return found.exp > Date.now() / 1000 ? found : null;
}
