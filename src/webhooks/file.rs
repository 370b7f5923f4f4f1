//! The file of webhooks, which `--webhooks` names. It holds secrets, so no error shows more of it than a name or a line.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use reqwest::Url;
use serde::Deserialize;

use super::destination::{AllowedInside, WebhookUrl};
use super::form::WebhookForm;
use super::notice::NoticeKind;
use super::signature::SigningSecret;

/// The number of webhooks that a file may have.
const HOOKS_MAX: usize = 32;

/// The longest name of a webhook.
const NAME_BYTES_MAX: usize = 40;

/// The number of waiting submissions from which a queue is long, if the file does not say it.
const QUEUE_LONG: u64 = 500;

/// The webhooks of organisers, and their common settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct WebhookSettings {
    pub(crate) hooks: Vec<WebhookSetting>,
    /// The number of waiting submissions from which the queue is long.
    pub(crate) queue_long: u64,
    /// The public address of the pages, to which messages link.
    pub(crate) pages: Option<Url>,
    pub(crate) allowed: Arc<AllowedInside>,
}

/// One webhook.
#[derive(Debug, Clone)]
pub(crate) struct WebhookSetting {
    pub(crate) name: String,
    pub(crate) url: WebhookUrl,
    pub(crate) form: WebhookForm,
    pub(crate) kinds: Vec<NoticeKind>,
    /// The secret with which messages are signed; messages in plain JSON always are.
    pub(crate) secret: Option<SigningSecret>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhooksFile {
    #[serde(default)]
    allow: Vec<String>,
    queue_long: Option<u64>,
    pages: Option<String>,
    #[serde(default)]
    webhook: Vec<WebhookTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookTable {
    name: String,
    url: String,
    #[serde(default)]
    form: WebhookForm,
    kinds: Option<Vec<NoticeKind>>,
    secret: Option<String>,
}

/// The reason why a file of webhooks cannot be used, in one line and without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebhooksFileError(String);

impl WebhookSettings {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// If it is no TOML, or a webhook in it is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, WebhooksFileError> {
        let file: WebhooksFile = toml::from_str(text).map_err(|error| in_line(text, &error))?;
        let allowed = AllowedInside::parse(&file.allow).map_err(WebhooksFileError)?;
        let pages = file.pages.map(|pages| page_address(&pages)).transpose()?;
        let queue_long = file.queue_long.unwrap_or(QUEUE_LONG);
        if queue_long == 0 {
            return Err(WebhooksFileError("queue_long: a number above 0 is expected".to_owned()));
        }
        if file.webhook.len() > HOOKS_MAX {
            return Err(WebhooksFileError(format!("there are more than {HOOKS_MAX} webhooks")));
        }
        let hooks = file.webhook.into_iter().map(|table| table.checked(&allowed));
        let hooks: Vec<WebhookSetting> = hooks.collect::<Result<_, _>>()?;
        let mut names = BTreeSet::new();
        match hooks.iter().find(|hook| !names.insert(&hook.name)) {
            Some(twice) => Err(WebhooksFileError(format!("two webhooks have the name {}", twice.name))),
            None => Ok(Self { hooks, queue_long, pages, allowed: Arc::new(allowed) }),
        }
    }
}

/// Lists the webhooks by name and host.
impl fmt::Display for WebhookSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hooks = self.hooks.iter().map(|hook| format!("{} at {}", hook.name, hook.url.host()));
        f.write_str(&hooks.collect::<Vec<_>>().join(", "))
    }
}

impl WebhookTable {
    fn checked(self, allowed: &AllowedInside) -> Result<WebhookSetting, WebhooksFileError> {
        let Self { name, url, form, kinds, secret } = self;
        let is_named = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
        if !is_named || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return Err(WebhooksFileError(format!(
                "the name {name:?} of a webhook has other than 1 to {NAME_BYTES_MAX} of a-z, 0-9 and -"
            )));
        }
        let wrong = |why: &str| WebhooksFileError(format!("the webhook {name}: {why}"));
        let url = WebhookUrl::parse(&url, allowed).map_err(|why| wrong(&why))?;
        let secret = secret.as_deref().map(SigningSecret::parse).transpose().map_err(wrong)?;
        if secret.is_none() && form == WebhookForm::Json {
            return Err(wrong("without a secret, its receiver cannot tell our messages from a stranger's"));
        }
        let mut kinds = kinds.unwrap_or_else(|| NoticeKind::ALL.to_vec());
        kinds.sort_unstable();
        kinds.dedup();
        Ok(WebhookSetting { name, url, form, kinds, secret })
    }
}

impl std::error::Error for WebhooksFileError {}

impl fmt::Display for WebhooksFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says where a text is no file of webhooks. A value that the parser quotes may be a secret, so it is left out.
fn in_line(text: &str, error: &toml::de::Error) -> WebhooksFileError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
    let said = error.message().lines().next().unwrap_or_default();
    let unquoted = said.split('"').step_by(2).collect::<Vec<_>>().join("…");
    let is_word = |part: &str| part.len() <= 20 && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let shown = unquoted.split('`').enumerate().map(|(index, part)| match index % 2 {
        1 if !is_word(part) => "…",
        _ => part,
    });
    WebhooksFileError(format!("line {line}: {}", shown.collect::<Vec<_>>().join("`")))
}

fn page_address(text: &str) -> Result<Url, WebhooksFileError> {
    let url =
        Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none());
    url.ok_or_else(|| {
        WebhooksFileError("pages: the address of the pages is expected, https://HOST".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn webhook(more: &str) -> String {
        format!("[[webhook]]\nname = \"ops\"\nurl = \"https://hooks.example.org/key-in-the-path\"\n{more}")
    }

    #[test]
    fn a_file_names_hooks_and_what_they_hear() {
        let text = format!(
            "allow = [\"10.0.0.0/8\"]\nqueue_long = 50\npages = \"https://muster.example\"\n{}{}",
            webhook(&format!("secret = \"{SECRET}\"\n")),
            "[[webhook]]\nname = \"chat\"\nform = \"slack\"\nurl = \"http://10.0.0.1/\"\nkinds = [\"stuck\", \"passed\"]\n",
        );
        let settings = WebhookSettings::parse(&text).unwrap();
        assert_eq!(settings.queue_long, 50);
        let [ops, chat] = settings.hooks.as_slice() else { panic!("{settings:?}") };
        assert_eq!((ops.form, ops.kinds.as_slice()), (WebhookForm::Json, NoticeKind::ALL.as_slice()));
        assert_eq!(chat.kinds, [NoticeKind::Passed, NoticeKind::Stuck]);
        assert!(chat.secret.is_none());
        let shown = format!("{settings:?}");
        assert!(!shown.contains("MfKQ") && !shown.contains("key-in-the-path"), "{shown}");
        assert!(WebhookSettings::parse("").unwrap().hooks.is_empty());
    }

    #[test]
    fn a_wrong_file_is_refused_in_one_line_without_its_secrets() {
        let secret = format!("secret = \"{SECRET}\"\n");
        for (text, named) in [
            ("[[webhook]\n".to_owned(), "line 1"),
            (webhook("secret = 7"), "line 4"),
            (webhook(&format!("kinds = \"{SECRET}\"")), "line 4"),
            (webhook(&format!("form = \"{SECRET}\"")), "line 4"),
            (webhook("sekret = \"x\""), "sekret"),
            (webhook("kinds = [\"deleted\"]"), "deleted"),
            (webhook(""), "ops: without a secret"),
            (webhook("secret = \"whsec_c2hvcnQ=\""), "24 to 64 bytes"),
            (webhook(&secret).replace("ops", "../ops"), "../ops"),
            (webhook(&secret).replace("https", "http"), "https://"),
            (webhook(&secret).replace("hooks.example.org", "127.1"), "127.0.0.1 is an address inside"),
            (webhook(&secret).replace("hooks.", "ada:key-in-the-path@hooks."), "password"),
            (webhook(&secret) + &webhook(&secret), "two webhooks"),
            ("queue_long = 0".to_owned(), "queue_long"),
            ("pages = \"muster\"".to_owned(), "pages"),
            ("allow = [\"a/b\"]".to_owned(), "allow"),
        ] {
            let error = WebhookSettings::parse(&text).unwrap_err().to_string();
            assert!(error.contains(named) && !error.contains('\n'), "{named}: {error}");
            assert!(!error.contains("MfKQ") && !error.contains("key-in-the-path"), "{error}");
        }
    }
}
