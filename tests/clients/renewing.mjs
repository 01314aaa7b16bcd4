// The same as renewing.py, with the AWS SDK for JavaScript: renewing.mjs SECONDS BUCKET KEY
import { setTimeout } from "node:timers/promises";
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";

const [seconds, bucket, key] = process.argv.slice(2);
const client = new S3Client({});
const end = performance.now() + seconds * 1000;
let count = 0;
while (performance.now() < end) {
  const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
  if ((await Body.transformToByteArray()).length === 0) throw new Error("nothing was read");
  count += 1;
  await setTimeout(500);
}
console.log(count);
