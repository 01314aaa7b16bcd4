// The same as packages.py, with the package for JavaScript: packages.mjs SECONDS BUCKET KEY LIFE
import { setTimeout } from "node:timers/promises";
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { s3 } from "../../clients/javascript/index.js";

const [seconds, bucket, key, life] = process.argv.slice(2);
const client = new S3Client(await s3({ grant: "flights-daily", ttlSeconds: Number(life) }));
const end = performance.now() + seconds * 1000;
let count = 0;
while (performance.now() < end) {
  const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
  if ((await Body.transformToByteArray()).length === 0) throw new Error("nothing was read");
  count += 1;
  await setTimeout(500);
}
console.log(count);
