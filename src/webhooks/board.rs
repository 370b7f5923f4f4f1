//! The state of each hook, as organisers see it, and their wish to try again.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::Notify;
use utoipa::ToSchema;

use super::file::WebhookSetting;
use super::form::WebhookForm;
use super::notice::NoticeKind;
use super::queue::HookQueue;

/// The state of a webhook.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct WebhookView {
    /// The name of the webhook in the file of webhooks.
    name: String,
    /// The form of its messages.
    form: WebhookForm,
    /// The kinds of messages that are sent.
    kinds: Vec<NoticeKind>,
    /// The receiver's host. The rest of its URL may be a secret.
    host: String,
    /// The reason why nothing can be sent at all; `null` if all is well here.
    #[schema(required)]
    trouble: Option<String>,
    /// The number of messages that wait to be delivered, up to 128. Further ones wait in the log.
    waiting: usize,
    /// The moment of the oldest event whose message waits.
    #[schema(required)]
    oldest_waiting_at: Option<Timestamp>,
    /// The moment of the next try.
    #[schema(required)]
    next_try_at: Option<Timestamp>,
    /// The number of messages that were delivered.
    delivered: u64,
    /// The number of messages that were given up after three days.
    given_up: u64,
    /// The newest try; `null` before the first.
    #[schema(required)]
    last: Option<WebhookTry>,
}

/// A try to deliver a message.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct WebhookTry {
    /// The moment of the try.
    at: Timestamp,
    /// The kind of the message.
    kind: NoticeKind,
    /// The reason why the message did not arrive; `null` if it did.
    #[schema(required)]
    failure: Option<String>,
}

/// The place where a hook's worker and organisers meet.
#[derive(Debug)]
pub(super) struct HookBoard {
    view: Mutex<WebhookView>,
    /// An organiser wants all that waits to be tried now.
    pub(super) again: Notify,
}

impl HookBoard {
    /// Describes a hook that no process delivers yet.
    pub(super) fn new(setting: &WebhookSetting) -> Self {
        let view = WebhookView {
            name: setting.name.clone(),
            form: setting.form,
            kinds: setting.kinds.clone(),
            host: setting.url.host(),
            trouble: Some("another process delivers, or this one has just started".to_owned()),
            waiting: 0,
            oldest_waiting_at: None,
            next_try_at: None,
            delivered: 0,
            given_up: 0,
            last: None,
        };
        Self { view: Mutex::new(view), again: Notify::new() }
    }

    pub(super) fn view(&self) -> WebhookView {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn show_trouble(&self, why: Option<String>) {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).trouble = why;
    }

    pub(super) fn show(&self, queue: &HookQueue) {
        let last = queue.kept.last.clone();
        let last = last.map(|last| WebhookTry { at: last.at, kind: last.kind, failure: last.failure });
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        view.waiting = queue.kept.waiting.len();
        view.oldest_waiting_at = queue.oldest();
        view.next_try_at = queue.next_try();
        view.delivered = queue.kept.delivered_count;
        view.given_up = queue.kept.given_up_count;
        view.last = last;
    }
}

impl WebhookView {
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name == name
    }
}
