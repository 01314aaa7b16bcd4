// What a program in TypeScript writes with the package for JavaScript. It is compiled, and not run.
import { S3Client } from "@aws-sdk/client-s3";
import { credentials, s3, VendingError, type Identity, type Wanted } from "valetkey";

const wanted: Wanted = { grant: "flights-daily", access: "read", ttlSeconds: 3600 };
export const own = new S3Client({ credentials: credentials(wanted), region: "auto" });
export const client = new S3Client(await s3({ bucket: "flights-lake", prefixes: ["flights/daily"] }));

export async function until(): Promise<Date | "later"> {
  try {
    const identity: Identity = await credentials(wanted)();
    return identity.expiration;
  } catch (error) {
    if (error instanceof VendingError && error.away) return "later";
    throw error;
  }
}

// @ts-expect-error A grant that is misspelt must not mean everything.
credentials({ grants: "flights-daily" });
