// A page that lists things of one kind, shows one, and changes it: what differs is in `resources.tsx`.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { type Request, type Role, type Row, isAtLeast, page, sees } from "./api";
import type { Command } from "./cli";
import { Back, type Field, Form } from "./form";
import { type Place, go } from "./router";
import { Awaited, type Column, Table, usePages } from "./table";
import { Dialog, Empty, Fields, Heading } from "./ui";

export interface Action {
    label: string;
    needs?: Role;
    when?: (row: Row) => boolean;
    fields?: (row: Row) => Field[];
    send: (row: Row, body: Row) => Request;
    plan?: (row: Row, body: Row) => Request;
    typed?: (row: Row) => string;
    said?: (row: Row) => string;
    cli: (row: Row, body: Row) => Command | string;
    danger?: boolean;
    /** Shown beside the form, for what is more than one. */
    beside?: (row: Row) => ComponentChildren;
}

export interface Resource {
    name: string;
    title: string;
    about: string;
    needs?: Role;
    /** Whether an auditor sees it. */
    audited?: true;
    path: string[];
    field: string;
    query?: Row;
    /** What may be filtered by, beside what is always asked. Some filters are only an operator's. */
    filters?: { name: string; label: string; needs?: Role }[];
    /** The command that lists the same, with what of the filters it takes. */
    cli: (query: Row) => Command;
    empty: { said: string; command?: Command };
    columns: Column[];
    id: (row: Row) => string;
    create?: { label: string; needs: Role; fields: (me: Row) => Field[]; send: (body: Row) => Request; plan?: (body: Row) => Request; cli: (body: Row) => Command | string };
    actions: Action[];
    /** What of a row `more` shows better. */
    hidden?: string[];
    /** More of a thing, asked for when it is looked at. */
    more?: (row: Row, again: () => void) => ComponentChildren;
}

/** `row` is as it was last asked for; nothing once it is not there any more. */
function Acting({ action, row, back, done }: { action: Action; row: Row; back?: () => void; done: () => void }) {
    const { label, fields, send, plan, typed, said, cli, danger } = action;
    return (
        <>
            <h3>{label}</h3>
            {action.beside?.(row)}
            <Form
                label={label}
                fields={fields?.(row) ?? []}
                send={(body) => send(row, body)}
                plan={plan && ((body) => plan(row, body))}
                typed={typed?.(row)}
                said={said?.(row)}
                cli={(body) => cli(row, body)}
                danger={danger}
                done={done}
            />
            {back && <Back go={back} />}
        </>
    );
}

/** One thing: `row` as it was opened, `latest` as the list has it now. */
export function One({ resource, row, latest, me, done }: { resource: Resource; row: Row; latest?: Row; me: Row; done: () => void }) {
    const [action, set] = useState<Action>();
    // What was changed is not changed again before it was asked for again: a form would put back what it was.
    const [before, setBefore] = useState<{ row?: Row }>();
    const shown = latest ?? row;
    const current = !before || (!!latest && latest !== before.row);
    const changed = () => {
        setBefore({ row: latest });
        done();
    };
    if (action) return <Acting action={action} row={shown} back={current ? () => set(undefined) : undefined} done={changed} />;
    const may = resource.actions.filter((one) => isAtLeast(me.role, one.needs ?? "member") && (one.when?.(shown) ?? true));
    return (
        <>
            <Fields of={Object.fromEntries(Object.entries(shown).filter(([name]) => !resource.hidden?.includes(name)))} />
            {resource.more?.(shown, done)}
            <div class="buttons">
                {may.map((one) => (
                    <button type="button" class={one.danger ? "danger" : ""} onClick={() => set(one)}>
                        {one.label}…
                    </button>
                ))}
            </div>
        </>
    );
}

export function Filters({ place, filters }: { place: Place; filters: { name: string; label: string }[] }) {
    const submit = (event: Event) => {
        event.preventDefault();
        const typed = new FormData(event.currentTarget as HTMLFormElement);
        go(place.name, Object.fromEntries([...typed].map(([name, value]) => [name, String(value).trim()])));
    };
    return (
        <form class="filters" role="search" onSubmit={submit}>
            {filters.map(({ name, label }) => (
                <div class="field" key={`${name}=${place.query[name]}`}>
                    <label for={`filter-${name}`}>{label}</label>
                    <input id={`filter-${name}`} name={name} defaultValue={place.query[name] ?? ""} autocomplete="off" spellcheck={false} />
                </div>
            ))}
            <button type="submit">Filter</button>
        </form>
    );
}

export function Listing({ resource, me, place }: { resource: Resource; me: Row; place: Place }) {
    const [open, setOpen] = useState<Row | "new">();
    const filters = (resource.filters ?? []).filter((one) => sees(me.role, one.needs ?? "member"));
    const asked: Row = { ...resource.query };
    for (const { name } of filters) if (place.query[name]) asked[name] = place.query[name];
    const pages = usePages((next) => page(resource.path, resource.field, { ...asked, ...next }), [resource.name, asked]);
    const { rows, again } = pages;
    const { create } = resource;
    const makes = create && isAtLeast(me.role, create.needs);
    return (
        <>
            <Heading title={resource.title} about={resource.about} cli={resource.cli(asked)}>
                {makes && (
                    <button type="button" class="primary" onClick={() => setOpen("new")}>
                        {create.label}…
                    </button>
                )}
                <button type="button" onClick={again}>
                    Reload
                </button>
            </Heading>
            {filters.length > 0 && <Filters place={place} filters={filters} />}
            <Awaited of={pages} />
            {rows?.length === 0 && <Empty {...resource.empty} />}
            {rows && rows.length > 0 && (
                <Table caption={resource.title} columns={resource.columns} rows={rows} of={pages} id={resource.id} open={setOpen} />
            )}
            {open === "new" && create && (
                <Dialog title={create.label} close={() => setOpen(undefined)}>
                    <Form label={create.label} fields={create.fields(me)} send={create.send} plan={create.plan} cli={create.cli} done={again} />
                </Dialog>
            )}
            {open && open !== "new" && (
                <Dialog title={`${resource.title}: ${open.name ?? resource.id(open)}`} close={() => setOpen(undefined)}>
                    <One resource={resource} row={open} latest={rows?.find((row) => resource.id(row) === resource.id(open))} me={me} done={again} />
                </Dialog>
            )}
        </>
    );
}
