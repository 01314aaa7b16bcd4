// Commands that do what a page does. Their words are quoted here and nowhere else, so that nothing of an address is ever run.

/** Words that every shell takes as they are. */
const PLAIN = /^[\w./:@%+,-][\w./:@%+,=-]*$/;
/** What a terminal acts on, or what shows text in another order than it has. */
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

const escaped = (character: string): string => {
    const code = character.charCodeAt(0);
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
};

/** One word for a shell. */
export function quoted(text: string): string {
    if (PLAIN.test(text)) return text;
    if (text.search(UNSEEN) >= 0) return `$'${text.replace(/[\\']/g, "\\$&").replace(UNSEEN, escaped)}'`;
    return `'${text.replaceAll("'", `'\\''`)}'`;
}

type One = string | number | null | undefined;
const said = (value: One): value is string | number => value !== undefined && value !== null && value !== "";

/** A command of ours. What is written in `valetkey("…")` is ours, what is added may be anybody's. */
export class Command {
    private readonly own: string[];
    private readonly positions: string[] = [];
    private readonly named: string[] = [];
    private input = "";

    constructor(verb: string) {
        this.own = ["valetkey", ...verb.split(" ")];
    }

    /** What is said by its place; nothing for what is not said. */
    of(...values: One[]): this {
        this.positions.push(...values.filter(said).map(String));
        return this;
    }

    /** A flag, once for each value. */
    with(name: string, value: One | One[]): this {
        for (const one of [value].flat().filter(said).map(String)) {
            // Behind `=` nothing is taken for a flag.
            this.named.push(...(one.startsWith("-") ? [`--${name}=${one}`] : [`--${name}`, one]));
        }
        return this;
    }

    /** Flags of the names of fields, with what they have. */
    having(body: Record<string, any>, ...names: string[]): this {
        for (const name of names) this.with(name.replaceAll("_", "-"), body[name]);
        return this;
    }

    /** A flag without a value; where something is said beside its name, only if that is so. */
    on(name: string, ...when: unknown[]): this {
        if (when.every(Boolean)) this.named.push(`--${name}`);
        return this;
    }

    /** A length of time, in seconds. */
    secs(name: string, value: One): this {
        return this.with(name, said(value) ? `${value}s` : undefined);
    }

    /** Reads a file from standard input. */
    from(file: string): this {
        this.input = ` < ${quoted(file)}`;
        return this;
    }

    /** Its words, as a program is started with them. */
    words(): string[] {
        const [own, positions, named] = [this.own, this.positions, this.named];
        const flagged = positions.some((one) => /^-./.test(one));
        return flagged ? [...own, ...named, "--", ...positions] : [...own, ...positions, ...named];
    }

    /** Its words for a shell. */
    toString(): string {
        return this.words().map(quoted).join(" ") + this.input;
    }
}

export const valetkey = (verb: string): Command => new Command(verb);
