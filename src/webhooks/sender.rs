//! Sends messages to receivers over HTTP. It follows no redirect and uses no proxy: either would lead past the check of the
//! address.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};

use super::destination::{GuardedResolver, SystemNames};
use super::file::{WebhookSetting, WebhookSettings};
use super::notice::WebhookNotice;

/// The deadline for a receiver, from the look-up of its name to the head of its answer.
const DEADLINE: Duration = Duration::from_secs(15);

/// The sender that all hooks of a process share.
#[derive(Debug, Clone)]
pub(super) struct MessageSender {
    http: Client,
    pages: Option<Url>,
}

/// The reason why a message did not arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SendError {
    /// A sentence for organisers. It does not show the URL.
    pub(super) why: String,
    /// The pause that the receiver asked for.
    pub(super) retry_after: Option<Duration>,
}

impl MessageSender {
    pub(super) fn new(settings: &WebhookSettings) -> anyhow::Result<Self> {
        let names = GuardedResolver::new(Arc::new(SystemNames), Arc::clone(&settings.allowed));
        let http = Client::builder()
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .timeout(DEADLINE)
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(names))
            .build()
            .context("the sender of webhooks")?;
        Ok(Self { http, pages: settings.pages.clone() })
    }

    /// Sends a notice once. A receiver that answers 2xx has it.
    pub(super) async fn send(&self, hook: &WebhookSetting, notice: &WebhookNotice) -> Result<(), SendError> {
        let body = hook.form.body(notice, self.pages.as_ref());
        let timestamp = Timestamp::now().as_second();
        let mut request = self
            .http
            .post(hook.url.url())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &notice.id)
            .header("webhook-timestamp", timestamp);
        if let Some(secret) = &hook.secret {
            request = request.header("webhook-signature", secret.sign(&notice.id, timestamp, &body));
        }
        match request.body(body).send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(SendError::answered(&answer)),
            Err(error) => Err(SendError { why: in_words(error), retry_after: None }),
        }
    }
}

impl SendError {
    fn answered(answer: &Response) -> Self {
        let status = answer.status();
        let why = match status.is_redirection() {
            true => format!("the receiver answered {status}, and redirects are not followed"),
            false => format!("the receiver answered {status}"),
        };
        let asked = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
        Self { why, retry_after: asked.map(Duration::from_secs) }
    }
}

/// Returns the error with its causes and without the URL.
fn in_words(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("the receiver did not answer within {} s", DEADLINE.as_secs());
    }
    let error = error.without_url();
    let mut cause = error.source();
    let mut why = "the receiver cannot be reached".to_owned();
    while let Some(next) = cause {
        let said = next.to_string();
        if next.source().is_none() || said.contains("address inside") {
            why = format!("{why}: {said}");
            break;
        }
        cause = next.source();
    }
    why
}
