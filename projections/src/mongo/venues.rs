//! The totals of venues, as a batch loads and writes them.

use std::collections::{BTreeMap, BTreeSet};

use mongodb::ClientSession;
use mongodb::bson::{doc, to_bson};
use mongodb::error::Result;
use mongodb::options::FindOptions;

use super::collections::ViewCollections;
use super::documents::VenueCounterKey;
use super::transaction::{DocumentWrite, find, with_ids};
use crate::fold::ViewState;
use crate::fold::totals::{Counters, VenueTotals};

impl ViewCollections {
    /// Loads the recent activity of venues. Their counters are sums, so they begin at zero.
    pub(super) async fn load_venues(
        &self,
        session: &mut ClientSession,
        venues: BTreeSet<String>,
    ) -> Result<BTreeMap<String, VenueTotals>> {
        if venues.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names = venues.into_iter().collect();
        let stored = find(&self.venues(), session, with_ids::<String>(names), FindOptions::default()).await?;
        let totals = stored.into_iter().map(|document| {
            (document.venue, VenueTotals { counters: Counters::new(), recent: document.recent })
        });
        Ok(totals.collect())
    }

    /// Adds the differences to the stored counters of the batch's venues, and stores their recent activity.
    pub(super) async fn write_venues(&self, session: &mut ClientSession, state: &ViewState) -> Result<()> {
        let (mut counters, mut recent) = (Vec::new(), Vec::new());
        for (venue, totals) in &state.venues {
            for (key, by) in &totals.counters {
                let id = VenueCounterKey { venue: venue.clone(), key: key.clone() };
                let update = doc! { "$inc": { "n": *by }, "$setOnInsert": { "venue": venue } };
                counters.push(DocumentWrite::update(to_bson(&id)?, &update));
            }
            let update = doc! { "$set": { "recent": to_bson(&totals.recent)? } };
            recent.push(DocumentWrite::update(venue.as_str(), &update));
        }
        self.write(session, &self.venue_counters(), counters).await?;
        self.write(session, &self.venues(), recent).await
    }
}
