//! The form in which a client gets its events.

use tonic::Status;

use super::{
    convert,
    proto::streams::{
        ReadResp,
        read_req::{Options, options::uuid_option},
        read_resp::{Content, ReadEvent},
    },
    shared::NodeContext,
    status,
};
use crate::{
    ReadDirection, Revision, StreamName,
    sqlite::{StoredEvent, StreamAnswer},
};

/// The type of an event that links to another event.
const LINK_KIND: &str = "$>";

/// The options of a client that concern the form of its events.
#[derive(Clone, Copy)]
pub(super) struct EventFormat {
    text_ids: bool,
    resolve_links: bool,
}

impl EventFormat {
    pub(super) fn parse(options: &Options) -> Result<Self, Status> {
        let text_ids = match options.uuid_option.map(|option| option.content) {
            Some(Some(uuid_option::Content::String(_))) => true,
            Some(_) => false,
            None => return Err(Status::invalid_argument("the request has no uuid_option")),
        };
        Ok(Self { text_ids, resolve_links: options.resolve_links })
    }

    /// Returns the response that carries an event, with its link resolved if the client asked for that.
    pub(super) async fn event_response(
        self,
        node: &NodeContext,
        event: StoredEvent,
    ) -> Result<ReadResp, Status> {
        Ok(response(Content::Event(self.read_event(node, event).await?)))
    }

    async fn read_event(self, node: &NodeContext, event: StoredEvent) -> Result<ReadEvent, Status> {
        if !self.resolve_links || event.event.kind != LINK_KIND {
            return Ok(convert::read_event(event, self.text_ids));
        }
        // An event that only calls itself a link is shown as it is.
        let Some((stream, revision)) = link_target(&event) else {
            return Ok(convert::read_event(event, self.text_ids));
        };
        let page = node.store.stream_page(stream, revision, ReadDirection::Forwards, 1).await;
        let target = match page.map_err(|error| status::read_failed(&error))? {
            StreamAnswer::Page(page) => {
                page.events.into_iter().find(|stored| stored.event.revision == revision)
            }
            StreamAnswer::NotFound | StreamAnswer::Deleted => None,
        };
        Ok(convert::resolved_link(event, target, self.text_ids))
    }
}

pub(super) fn response(content: Content) -> ReadResp {
    ReadResp { content: Some(content) }
}

/// Parses the data of a link, which is `revision@stream`.
fn link_target(link: &StoredEvent) -> Option<(StreamName, Revision)> {
    let (revision, stream) = std::str::from_utf8(&link.event.data).ok()?.split_once('@')?;
    Some((StreamName::recorded(stream.to_owned()), revision.parse().ok()?))
}
