// Reads an object with a client, waits for a line, and reads it again: with the same client, then with another one.
import { once } from "node:events";
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";

const [bucket, key] = process.argv.slice(2);
const client = () => new S3Client({ forcePathStyle: true, endpoint: process.env.VALETKEY_S3, maxAttempts: 2 });
const read = (s3) =>
  s3
    .send(new GetObjectCommand({ Bucket: bucket, Key: key }))
    .then(async ({ Body }) => (await Body.transformToByteArray(), "read"))
    .catch((error) => error.name);

const first = client();
console.log(await read(first));
await once(process.stdin, "data");
console.log(await read(first));
console.log(await read(client()));
process.exit(0);
