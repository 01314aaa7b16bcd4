//! What a stranger sees of the dialects: whole responses over in-memory stores, with a clock that stands still.

mod bodies;
mod carry;
mod checks;
mod cors;
mod datasets;
mod dreadnode;
mod endings;
mod every_route;
mod heavy;
mod lists;
mod native;
mod on_record;
mod packages;
mod quotas;
mod r2;
mod refusals;
mod shares;
mod sharing;
mod stock;
mod storages;
mod sts;
mod tables;
mod theirstack;
mod upstream;
mod workspaces;
mod world;
