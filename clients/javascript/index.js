// Credentials of Valetkey for the AWS SDK for JavaScript 3: vended once for many readers, renewed ahead of their expiry.
import { readFile } from "node:fs/promises";

const AHEAD = 20 * 60_000;
const LAST_RESORT = 60_000;
// After a failure, what is kept is given out without asking for this long.
const PAUSE = 5_000;
// For how long what was vended or confirmed is given out without asking whether it was ended; and how long that may take.
const UNASKED = 60_000;
const ASKING = 5_000;
// The SDK asks its provider again five minutes before what it holds ends.
const SDK_ASKS = 5 * 60_000;
const MOST_BYTES = 1024 * 1024;
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

export class VendingError extends Error {
  constructor(message, { code, status } = {}) {
    super(message);
    this.name = "VendingError";
    this.code = code;
    this.status = status;
  }

  /** Whether this says nothing of the caller: the server is away, or what answers is not Valetkey. */
  get away() {
    return this.status === undefined || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

function api(server) {
  const url = new URL(server ?? process.env.VALETKEY_SERVER ?? "http://127.0.0.1:7070");
  if (!["http:", "https:"].includes(url.protocol) || url.username || url.search || url.hash) {
    throw new TypeError("server is the URL of Valetkey's API, without a user or a query");
  }
  if (url.protocol === "http:" && !LOOPBACK.test(url.hostname)) {
    throw new TypeError("the token is not sent over plain http to another machine");
  }
  return `${url.href.replace(/\/$/, "")}/api/v1`;
}

async function bearer(token) {
  const file = process.env.VALETKEY_TOKEN_FILE;
  const text = token ?? process.env.VALETKEY_TOKEN ?? (file ? await readFile(file, "utf8") : "");
  if (!/^[\x21-\x7e]+$/.test(text.trim())) {
    throw new VendingError("there is no token: set VALETKEY_TOKEN or VALETKEY_TOKEN_FILE, or pass token", { status: 401 });
  }
  return text.trim();
}

async function body(response) {
  const chunks = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > MOST_BYTES) throw new VendingError("the answer is too large to be the API's");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

async function asked(url, ask, token, timeout) {
  let response, text;
  const type = ask && { "content-type": "application/json" };
  try {
    response = await fetch(url, {
      method: ask ? "POST" : "GET",
      headers: { authorization: `Bearer ${token}`, accept: "application/json", ...type },
      body: ask && JSON.stringify(ask),
      // A redirect would take the token to a place that nobody named.
      redirect: "error",
      signal: AbortSignal.timeout(timeout),
    });
    text = await body(response);
  } catch (error) {
    if (error instanceof VendingError) throw error;
    throw new VendingError(`${url} cannot be reached: ${error.cause?.message ?? error.message}`);
  }
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new VendingError(`the answer of ${url} is not the API's`, { status: response.ok ? undefined : response.status });
  }
  if (!response.ok) {
    const message = String(answer.detail ?? answer.title ?? `the server answered with status ${response.status}`);
    throw new VendingError(message, { code: answer.code, status: response.status });
  }
  return answer ?? {};
}

/** Whether the server says that a credential was not ended. */
async function isLive(url, lease, token, timeout) {
  try {
    return (await asked(`${url}/leases/${encodeURIComponent(lease)}`, undefined, token, timeout)).state === "live";
  } catch (error) {
    if (error.code === "not_found") return false;
    throw error;
  }
}

async function vend(url, ask, token, timeout) {
  const answer = await asked(`${url}/credentials`, ask, token, timeout);
  if ((answer.type ?? "s3") !== "s3") {
    throw new VendingError(`the storage gives a credential of type ${answer.type}, which is not for S3`, { status: 422 });
  }
  for (const name of ["lease_id", "access_key_id", "secret_access_key", "session_token", "endpoint_url"]) {
    if (typeof answer[name] !== "string" || !answer[name]) throw new VendingError(`the answer is no credential: it has no ${name}`);
  }
  const expiration = new Date(answer.expiration);
  if (!(expiration.getTime() > Date.now())) {
    throw new VendingError("the server vended a credential that is over; is this machine's clock right?");
  }
  const identity = {
    accessKeyId: answer.access_key_id,
    secretAccessKey: answer.secret_access_key,
    sessionToken: answer.session_token,
    expiration,
  };
  return { identity, lease: answer.lease_id, endpoint: answer.endpoint_url, region: answer.region || "auto" };
}

/** What is vended, kept until it is to be renewed. */
function source({ grant, bucket, prefixes, objects, access, ttlSeconds, server, token, timeoutSeconds = 30, ...other }) {
  const [odd] = Object.keys(other);
  // A field that is not understood might be meant to narrow.
  if (odd) throw new TypeError(`${odd} is not known`);
  const url = api(server);
  const ask = { grant, bucket, prefixes, objects, access, ttl_secs: ttlSeconds };
  let kept, asking;
  let paused = 0;

  const left = () => (kept ? kept.vended.identity.expiration.getTime() - Date.now() : 0);
  const isGood = () => kept && kept.at <= Date.now() && left() > Math.min(LAST_RESORT, kept.life / 4);
  const isFresh = () => isGood() && left() > Math.max(kept.life / 2, Math.min(AHEAD, (kept.life * 3) / 4));

  const isUnasked = () => kept.asked <= Date.now() && Date.now() < kept.asked + UNASKED;

  async function renew() {
    try {
      const shown = await bearer(token);
      if (isFresh() && (await isLive(url, kept.vended.lease, shown, Math.min(timeoutSeconds * 1000, ASKING)))) {
        kept.asked = Date.now();
        return kept.vended;
      }
      const vended = await vend(url, ask, shown, timeoutSeconds * 1000);
      const at = Date.now();
      kept = { vended, at, asked: at, life: vended.identity.expiration.getTime() - at };
    } catch (error) {
      paused = Date.now() + PAUSE;
      if (error instanceof VendingError && !error.away) kept = undefined;
      if (!isGood()) throw error;
    }
    return kept.vended;
  }

  return async () => {
    if ((isFresh() && isUnasked()) || (isGood() && Date.now() < paused)) return kept.vended;
    asking ??= renew().finally(() => {
      asking = undefined;
    });
    return asking;
  };
}

/** As the SDK is told: it holds what it has without asking until shortly before the end, so it is told to ask again in a minute. */
function told({ identity }) {
  const again = Date.now() + SDK_ASKS + UNASKED;
  return { ...identity, expiration: new Date(Math.min(identity.expiration.getTime(), again)) };
}

export function credentials(wanted) {
  const get = source(wanted);
  return async () => told(await get());
}

export async function s3(wanted) {
  const get = source(wanted);
  const { endpoint, region } = await get();
  return { credentials: async () => told(await get()), endpoint, region, forcePathStyle: true };
}
