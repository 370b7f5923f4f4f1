//! The owners' pins as bytes. There are as many as owners, and a start has to read them all, so they have no names of fields.

use std::collections::BTreeMap;

use event_store::Position;
use jiff::Timestamp;

use crate::fold::owner::OwnerPasses;
use crate::view::Pin;

/// Appends an owner's passes.
pub(super) fn put_owner(to: &mut Vec<u8>, owner: &str, passes: &OwnerPasses) {
    put_text(to, owner);
    put_number(to, passes.count);
    put_number(to, passes.passes.len() as u64);
    passes.passes.iter().chain(&passes.pin).for_each(|pin| put_pin(to, pin));
}

/// Takes the next owner's passes off `from`; `None` if the bytes are not of this shape.
pub(super) fn take_owner(from: &mut &[u8]) -> Option<(String, OwnerPasses)> {
    let owner = take_text(from)?;
    let count = take_number(from)?;
    let passes = (0..take_number(from)?).map(|_| take_pin(from, &owner)).collect::<Option<Vec<_>>>()?;
    let pin = take_pin(from, &owner)?;
    Some((owner, OwnerPasses { count, passes, pin: Some(pin) }))
}

fn put_pin(to: &mut Vec<u8>, pin: &Pin) {
    put_text(to, &pin.name);
    put_optional(to, pin.twitter.as_deref());
    put_text(to, &pin.city);
    put_text(to, &pin.country);
    to.extend(pin.lat.to_le_bytes());
    to.extend(pin.lon.to_le_bytes());
    put_number(to, pin.answers.len() as u64);
    for (field, answer) in &pin.answers {
        put_text(to, field);
        put_text(to, answer);
    }
    put_optional(to, pin.venue.as_deref());
    put_number(to, pin.former_venues.len() as u64);
    pin.former_venues.iter().for_each(|venue| put_text(to, venue));
    put_number(to, pin.passes);
    to.extend(pin.passed_at.as_nanosecond().to_le_bytes());
    put_number(to, pin.position.0);
}

fn take_pin(from: &mut &[u8], owner: &str) -> Option<Pin> {
    Some(Pin {
        owner: owner.to_owned(),
        name: take_text(from)?,
        twitter: take_optional(from)?,
        city: take_text(from)?,
        country: take_text(from)?,
        lat: f64::from_le_bytes(take_bytes(from)?),
        lon: f64::from_le_bytes(take_bytes(from)?),
        answers: (0..take_number(from)?)
            .map(|_| Some((take_text(from)?, take_text(from)?)))
            .collect::<Option<BTreeMap<_, _>>>()?,
        venue: take_optional(from)?,
        former_venues: (0..take_number(from)?).map(|_| take_text(from)).collect::<Option<Vec<_>>>()?,
        passes: take_number(from)?,
        passed_at: Timestamp::from_nanosecond(i128::from_le_bytes(take_bytes(from)?)).ok()?,
        position: Position(take_number(from)?),
    })
}

fn put_number(to: &mut Vec<u8>, number: u64) {
    to.extend(number.to_le_bytes());
}

fn take_number(from: &mut &[u8]) -> Option<u64> {
    take_bytes(from).map(u64::from_le_bytes)
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    put_number(to, text.len() as u64);
    to.extend(text.as_bytes());
}

fn take_text(from: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(take_number(from)?).ok()?;
    let (text, rest) = from.split_at_checked(length)?;
    *from = rest;
    std::str::from_utf8(text).ok().map(str::to_owned)
}

fn put_optional(to: &mut Vec<u8>, text: Option<&str>) {
    to.push(u8::from(text.is_some()));
    text.into_iter().for_each(|text| put_text(to, text));
}

fn take_optional(from: &mut &[u8]) -> Option<Option<String>> {
    match take_bytes(from)? {
        [0] => Some(None),
        [1] => take_text(from).map(Some),
        _ => None,
    }
}

fn take_bytes<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*bytes)
}
