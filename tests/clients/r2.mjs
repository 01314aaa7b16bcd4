// Cloudflare's SDK for JavaScript, aws4fetch, and the signing of credentials as R2's documentation shows it with jose. Told what to
// do: one JSON object per line on stdin, one answer per line on stdout.
import { createInterface } from "node:readline";
import { AwsClient } from "aws4fetch";
import Cloudflare from "cloudflare";
import { SignJWT } from "jose";

const operations = {
  async mint({ account_id, ...fields }) {
    // The base URL and the token are in the environment.
    const credentials = await new Cloudflare({ maxRetries: 0 }).r2.temporaryCredentials.create({ account_id, ...fields });
    return credentials;
  },
  verify: () => new Cloudflare({ maxRetries: 0 }).user.tokens.verify(),
  // developers.cloudflare.com/r2/examples/authenticate-r2-temp-credentials
  async sign({ parentSecretAccessKey, parentAccessKeyId, accountId, endpoint, ttl, claims }) {
    const issued = Math.floor(Date.now() / 1000);
    const jwt = await new SignJWT(claims)
      .setProtectedHeader({ alg: "HS256", typ: "JWT" })
      .setSubject(accountId)
      .setIssuer(parentAccessKeyId)
      .setAudience(new URL(endpoint).host)
      .setIssuedAt(issued)
      .setExpirationTime(issued + ttl)
      .sign(new TextEncoder().encode(parentSecretAccessKey));
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(jwt));
    return {
      accessKeyId: parentAccessKeyId,
      secretAccessKey: Buffer.from(digest).toString("hex"),
      sessionToken: btoa(`jwt/${jwt}`),
    };
  },
  async fetch({ credentials, url, method = "GET", body, presign = false }) {
    const client = new AwsClient({ ...credentials, service: "s3", retries: 0 });
    const init = { method, body, aws: presign ? { signQuery: true } : {} };
    const answer = presign ? await fetch(await client.sign(url, init)) : await client.fetch(url, init);
    return { status: answer.status, text: await answer.text() };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, ...input } = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await operations[operation](input)) ?? null };
  } catch (error) {
    answer = { error: { name: error.constructor.name, status: error.status, errors: error.errors } };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
