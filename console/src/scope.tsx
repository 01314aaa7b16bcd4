// What a grant, a lease or a request opens, as text; and as the words of a command.
import type { Row } from "./api";
import type { Command } from "./cli";

/** What may be done where: one part, unless some places may be used in one way and some in another. */
export const parts = (row: Row): Row[] => row.parts ?? [row];

/** Each path: a directory ends with a slash, what begins so with a star, an object with neither; an empty one is the whole bucket. */
export function paths(row: Row): string[] {
    if (row.parts) return row.parts.flatMap(paths);
    if (row.whole_bucket) return [""];
    return [...(row.prefixes ?? []).map((one: string) => `${one}/`), ...(row.raw_prefixes ?? []).map((one: string) => `${one}*`), ...(row.objects ?? [])];
}

/** Where it is, in a line: the first path, and how many more there are. */
export function place(row: Row): string {
    const all = paths(row);
    return `s3://${row.bucket}/${all[0] ?? ""}${all.length > 1 ? ` and ${all.length - 1} more` : ""}`;
}

export const Where = ({ row }: { row: Row }) => <code title={paths(row).map((one) => `s3://${row.bucket}/${one}`).join("\n")}>{place(row)}</code>;

/** The flags that say these paths. What begins so has none: nothing is the answer then. */
export function pathed<T extends Command>(command: T, row: Row): T | undefined {
    if (row.raw_prefixes?.length > 0) return undefined;
    return command.with("prefix", row.prefixes).with("object", row.objects).on("whole-bucket", row.whole_bucket);
}

/** The bucket with a directory where there is only one, as commands take it. */
export function placed(command: Command, row: Row, bucket = row.bucket ?? "BUCKET"): Command | undefined {
    const all = paths(row);
    if (all.length === 0) return command.of(`s3://${bucket}/PREFIX`);
    if (all.length === 1 && row.prefixes?.length === 1) return command.of(`s3://${bucket}/${row.prefixes[0]}`);
    return pathed(command.of(`s3://${bucket}`), row);
}

/** Said where no command does it. */
export const NO_COMMAND = "No command says “whatever begins so”: only the API and policy files do.";
