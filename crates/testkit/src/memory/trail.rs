//! What happened: leases and refusals, each told by its number. Changes are not kept here.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::nouns::trail::{
    Counted, Cursor, Event, From, Opened, Reached, Refused, Sender, TURN, Told, Trail, What,
};

use super::Memory;

pub(super) struct Destination {
    sender: Sender,
    until: Timestamp,
    next: Option<Cursor>,
}

fn number(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[async_trait]
impl Trail for Memory {
    async fn events(&self, after: &Cursor, limit: u32) -> Result<Told, Error> {
        let world = self.world();
        let first = after.chains.first().map_or(0, |place| place.entry);
        let leases = (0u32..).zip(&world.leases).skip_while(|(at, _)| *at < first).map(|(at, lease)| {
            let (from, asked_with) = (world.addresses.get(&lease.id), world.asked_with.get(&lease.id));
            let opened = Opened {
                lease: lease.clone(),
                from: from.copied(),
                asked_with: asked_with.map(|(id, ..)| *id),
                narrowed_from: world.narrowed_from.get(&lease.id).cloned().unwrap_or_default(),
            };
            (
                Reached { page: 1, entry: at + 1, mark: None },
                Event { id: format!("1.{at}").into(), at: lease.opened, what: What::Opened(Box::new(opened)) },
            )
        });
        let mut told = Told { next: after.clone(), ..Told::default() };
        for (place, event) in leases.take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            told.next.chains = vec![place];
            told.events.push(event);
        }
        told.more = told.next.chains.first().map_or(0, |place| place.entry) < number(world.leases.len());
        let rows = (0u32..).zip(&world.refusals).skip_while(|(row, _)| *row < after.refusals.row);
        for (row, (refusal, at)) in rows {
            told.next.refusals = Counted { minute: 0, row: row + 1 };
            let what = What::Refused(Refused {
                account: refusal.account,
                caller: refusal.caller,
                from: refusal.from,
                dialect: refusal.dialect.into(),
                kind: refusal.kind.slug().into(),
                count: 1,
            });
            told.events.push(Event { id: format!("r0.{row}").into(), at: *at, what });
        }
        Ok(told)
    }

    async fn latest(&self) -> Result<Cursor, Error> {
        let world = self.world();
        let chains = vec![Reached { page: 1, entry: number(world.leases.len()), mark: None }];
        Ok(Cursor { chains, refusals: Counted { minute: 0, row: number(world.refusals.len()) } })
    }

    async fn take_turn(&self, to: &str, sender: Sender, from: From, now: Timestamp) -> Result<Option<Cursor>, Error> {
        let latest = self.latest().await?;
        let mut world = self.world();
        let until = now.checked_add(TURN).unwrap_or(Timestamp::MAX);
        let new = || Destination { sender, until, next: (from == From::Now).then_some(latest) };
        let known = world.destinations.entry(to.to_owned()).or_insert_with(new);
        if known.sender != sender && now < known.until {
            return Ok(None);
        }
        (known.sender, known.until) = (sender, until);
        Ok(Some(known.next.clone().unwrap_or_default()))
    }

    async fn sent(&self, to: &str, sender: Sender, next: &Cursor) -> Result<bool, Error> {
        let mut world = self.world();
        let Some(known) = world.destinations.get_mut(to).filter(|known| known.sender == sender) else {
            return Ok(false);
        };
        known.next = Some(next.clone());
        Ok(true)
    }
}
