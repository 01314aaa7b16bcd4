//! How a span of commits is told: to who asks for changes, and to a streaming query.

use valetkey_core::Error;
use valetkey_core::nouns::table::{FileAction, TableCommits};

use super::Sharing;
use super::capabilities::{Capabilities, Format, State};
use super::files::Wanted;
use super::telling::{Answer, Asked, Item, Told, told_of};
use crate::edge::{Place, Reply, Stop};

/// A span of commits, and what of its history is told beside the files.
pub(super) struct Span {
    pub(super) commits: TableCommits,
    pub(super) protocols: bool,
    pub(super) metadata: bool,
}

/// Tells a span of commits.
pub(super) async fn told(sharing: &Sharing, asked: &Asked<'_>, place: Place, span: Span) -> Result<Reply, Error> {
    let Asked { call, found, log, capabilities, ids: _, end } = asked;
    let Span { commits: span, protocols, metadata } = span;
    let wanted = Wanted::of(found, place.most_bytes());
    let client = (*capabilities).clone();
    let looked_at = place.work(move |stop| {
        let format = client.format(states(&span, metadata))?;
        let wanted = looked_at(&span, &client, format, wanted, stop)?;
        let items = items(&span, protocols, metadata);
        Ok((span, format, wanted, items))
    });
    let (span, format, wanted, items) = looked_at.await?;
    let signer = place.in_time(sharing.sign(call, found, log, &wanted)).await?;
    let start = span.start;
    let mut lines = asked.lines(sharing, format);
    // Whoever does not see how the columns changed sees them as they are at last.
    let first = if metadata { &span.before } else { &span.latest };
    let protocol = if protocols { &span.before.protocol } else { &first.protocol };
    lines.protocol(protocol, protocols.then_some(start))?;
    lines.metadata_of(&first.metadata, Some(first.version), None, None)?;
    let told = Told::Commits { span: Box::new(span), items: items.into_iter() };
    let answer = Answer { lines, told, signer, end: *end, refresh: None };
    asked.reply(place, answer, start, format).await
}

/// What the table was at each version that the span says something of, and what the answer says of it in front.
fn states(span: &TableCommits, metadata: bool) -> Vec<State<'_>> {
    let mut state = State::from(&span.before);
    let mut states = vec![state];
    if !metadata {
        states.push(State::from(&span.latest));
    }
    for commit in span.commits.iter().filter(|commit| commit.version > span.start) {
        if commit.protocol.is_some() || commit.metadata.is_some() {
            state.protocol = commit.protocol.as_ref().unwrap_or(state.protocol);
            state.metadata = commit.metadata.as_ref().unwrap_or(state.metadata);
            states.push(state);
        }
    }
    states
}

/// Looks at every file the answer will name, before anything is signed.
fn looked_at(
    span: &TableCommits,
    client: &Capabilities,
    format: Format,
    mut wanted: Wanted,
    stop: &Stop,
) -> Result<Wanted, Error> {
    for commit in &span.commits {
        stop.check()?;
        for action in &commit.actions {
            let (place, vector, told) = match action {
                FileAction::Add(file) => (&file.place, file.deletion_vector.as_ref(), told_of(file)),
                FileAction::Remove(file) => {
                    let told = 2 * file.path.len() + file.stats.as_ref().map_or(0, String::len);
                    (&file.place, file.deletion_vector.as_ref(), told)
                }
                FileAction::Cdc(file) => (&file.place, None, 2 * file.path.len()),
            };
            client.check_vector(format, vector.is_some())?;
            wanted.add(place, vector, told)?;
        }
    }
    Ok(wanted)
}

/// The lines of a span, in their order. What the first commit says of the table is told in front of them.
fn items(span: &TableCommits, protocols: bool, metadata: bool) -> Vec<Item> {
    let mut items = Vec::new();
    for (number, commit) in span.commits.iter().enumerate() {
        let later = commit.version > span.start;
        if later && protocols && commit.protocol.is_some() {
            items.push(Item::Protocol(number));
        }
        if later && metadata && commit.metadata.is_some() {
            items.push(Item::Metadata(number));
        }
        items.extend((0..commit.actions.len()).map(|action| Item::Action(number, action)));
    }
    items
}
