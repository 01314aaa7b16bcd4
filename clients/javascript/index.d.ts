/** What credentials are wanted for, and who asks. */
export interface Wanted {
  grant?: string;
  bucket?: string;
  prefixes?: string[];
  objects?: string[];
  access?: "read" | "write" | "read-write";
  ttlSeconds?: number;
  server?: string;
  token?: string;
  timeoutSeconds?: number;
}

/** A credential. `expiration` is its end, or sooner: the SDK asks again five minutes before, and so learns of a revocation. */
export interface Identity {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken: string;
  expiration: Date;
}

/** The server refuses, or is away: `code` is the server's, `status` the HTTP status if there was one. */
export class VendingError extends Error {
  code?: string;
  status?: number;
  /** Whether it says nothing of the caller: the server is away, or what answers is not Valetkey. Asking again may help. */
  readonly away: boolean;
}

/** A provider for any client of the AWS SDK for JavaScript 3. */
export function credentials(wanted: Wanted): () => Promise<Identity>;

/** The configuration of an S3 client: the provider, the endpoint, the region. */
export function s3(wanted: Wanted): Promise<{
  credentials: () => Promise<Identity>;
  endpoint: string;
  region: string;
  forcePathStyle: true;
}>;
