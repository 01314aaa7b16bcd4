// The AWS SDK for JavaScript, told what to do: one JSON object per line on stdin, one answer per line on stdout.
// Contents travel through files.
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  PutObjectCommand,
  S3Client,
  paginateListObjectsV2,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";

const s3 = new S3Client({ endpoint: process.env.S3_ENDPOINT, maxAttempts: 1 });

const operations = {
  async read({ file, ...input }) {
    const answer = await s3.send(new GetObjectCommand(input));
    writeFileSync(file, await answer.Body.transformToByteArray());
  },
  async list(input) {
    const keys = [];
    for await (const page of paginateListObjectsV2({ client: s3, pageSize: 2 }, input)) {
      keys.push(...(page.Contents ?? []).map((entry) => entry.Key));
    }
    return keys;
  },
  async write({ file, ...input }) {
    await s3.send(new PutObjectCommand({ ...input, Body: readFileSync(file) }));
  },
  async writeParts({ file, partSize, ...input }) {
    const params = { ...input, Body: readFileSync(file) };
    await new Upload({ client: s3, params, partSize }).done();
  },
  copy: (input) => s3.send(new CopyObjectCommand(input)).then(() => null),
  delete: (input) => s3.send(new DeleteObjectCommand(input)).then(() => null),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, ...input } = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await operations[operation](input)) ?? null };
  } catch (error) {
    answer = { error: `${error.name} (${error.$metadata?.httpStatusCode}): ${error.message}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
