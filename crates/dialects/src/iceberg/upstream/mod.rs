//! Warehouses that another catalog keeps: it knows the tables, and what may be done to their files is decided here.
//!
//! SECURITY: the catalog knows this server and not its callers, so that it refuses nothing for them. Whoever asks for a table has to be
//! granted the directory that the catalog says it lies in: to read it for its metadata, to write there for a commit, to write and delete there
//! for the rest. Of an answer only what is known here is passed on: no credential of the catalog's, and no setting of a client.

mod answer;
mod commit;
mod read;
mod state;
mod write;

pub(super) use self::answer::CODES;
pub(super) use self::read::{
    credentials, has_namespace, has_table, has_view, metrics, namespace, namespaces, table, tables, view, views,
};
pub(super) use self::state::{Behind, Object};
pub(super) use self::write::{
    commit_one, create_namespace, create_table, create_view, drop_namespace, drop_one, namespace_properties, register,
    rename_one, transaction,
};
