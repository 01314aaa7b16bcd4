// What the package for JavaScript gives out a minute after its credential was revoked: packages_ended.mjs SERVER BUCKET KEY, with the
// tokens in the environment.
import assert from "node:assert/strict";
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { credentials, s3 } from "../../clients/javascript/index.js";

const [server, Bucket, Key] = process.argv.slice(2);
const now = Date.now;
let ahead = 0;
Date.now = () => now() + ahead;
const later = (seconds) => {
  ahead += seconds * 1000;
};
const asked = [];
const send = globalThis.fetch;
globalThis.fetch = (url, options) => {
  asked.push(new URL(url).pathname.split("/")[3]);
  return send(url, options);
};
const revoke = async (id) => {
  const headers = { authorization: `Bearer ${process.env.ADMIN_TOKEN}` };
  const { lease_id } = await (await send(`${server}/api/v1/whose/${id}`, { headers })).json();
  assert.equal((await send(`${server}/api/v1/leases/${lease_id}`, { method: "DELETE", headers })).status, 200);
};

const wanted = { server, grant: "flights-daily", ttlSeconds: 3600 };
const provider = credentials(wanted);
const first = await provider();
assert.ok(first.expiration - Date.now() <= 360_000, "the SDK is to ask again in a minute");
assert.equal((await provider()).accessKeyId, first.accessKeyId);
assert.deepEqual(asked.splice(0), ["credentials"], "not asked about within a minute");
later(61);
assert.deepEqual(new Set((await Promise.all([provider(), provider()])).map((one) => one.accessKeyId)), new Set([first.accessKeyId]));
assert.deepEqual(asked.splice(0), ["leases"], "once a minute");
await revoke(first.accessKeyId);
later(61);
assert.notEqual((await provider()).accessKeyId, first.accessKeyId);
assert.deepEqual(asked.splice(0), ["leases", "credentials"]);

// A client that runs goes on by itself.
const options = await s3(wanted);
const client = new S3Client({ ...options, maxAttempts: 1 });
const read = async () => (await (await client.send(new GetObjectCommand({ Bucket, Key }))).Body.transformToByteArray()).length;
const size = await read();
await revoke((await client.config.credentials()).accessKeyId);
await assert.rejects(read(), { name: "ExpiredToken" });
later(61);
assert.equal(await read(), size);
console.log("ok");
