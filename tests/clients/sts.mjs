// Reads with whatever credential the SDK's own chain finds in the environment.
import { GetObjectCommand, ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3";

const client = new S3Client({ forcePathStyle: true, maxAttempts: 1 });
const at = { Bucket: "flights-lake" };
const listed = await client.send(new ListObjectsV2Command({ ...at, Prefix: "flights/daily/" }));
let beside;
try {
  await client.send(new GetObjectCommand({ ...at, Key: "flights/daily-secret/2013-01-01.parquet" }));
} catch (error) {
  beside = error.name;
}
console.log(JSON.stringify({ inside: listed.KeyCount, beside }));
