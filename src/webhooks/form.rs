//! The bodies of messages: plain JSON, or as Slack and Discord take them. Names and reasons come from strangers, so they are
//! escaped where a receiver would read more into them than letters.

use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::notice::{NoticeEntry, NoticeKind, NoticeSubject, WebhookNotice};

/// The longest name in a sentence, in characters.
const NAME_CHARS_MAX: usize = 80;

/// The longest reason in a sentence, in characters. Discord takes 2,000 characters in all, and escapes double them.
const REASON_CHARS_MAX: usize = 400;

/// The flag with which Discord shows no pictures of linked pages.
const SUPPRESS_EMBEDS: u32 = 1 << 2;

/// The form of a hook's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WebhookForm {
    /// Plain JSON, for programs.
    #[default]
    Json,
    /// A text for an incoming webhook of Slack.
    Slack,
    /// A text for a webhook of Discord.
    Discord,
}

impl WebhookForm {
    /// Returns the body of a notice. `pages` is the public address of the pages, to which messages link.
    pub(super) fn body(self, notice: &WebhookNotice, pages: Option<&Url>) -> Vec<u8> {
        let link = link(notice, pages);
        let body = match self {
            Self::Json => json!({
                "type": notice.kind.as_str(),
                "timestamp": notice.at,
                "data": data(notice, link.as_deref()),
            }),
            Self::Slack => json!({
                "text": with_link(sentence(notice, slack), link.as_deref().map(slack)),
                "mrkdwn": false,
                "unfurl_links": false,
                "unfurl_media": false,
            }),
            Self::Discord => json!({
                "content": with_link(sentence(notice, discord), link),
                "allowed_mentions": { "parse": [] },
                "flags": SUPPRESS_EMBEDS,
            }),
        };
        body.to_string().into_bytes()
    }
}

/// Returns the address of the submission's page, or of the organisers'.
fn link(notice: &WebhookNotice, pages: Option<&Url>) -> Option<String> {
    let path = match &notice.subject {
        NoticeSubject::Submission { submission, .. } => format!("s/{submission}"),
        NoticeSubject::Node { .. } | NoticeSubject::Queue { .. } => "organise".to_owned(),
    };
    Some(format!("{}/{path}", pages?.as_str().trim_end_matches('/')))
}

fn data(notice: &WebhookNotice, link: Option<&str>) -> Value {
    let position = notice.position;
    match &notice.subject {
        NoticeSubject::Submission { submission, entry, codes, reason } => json!({
            "submission": submission,
            "name": entry.as_ref().map(|entry| &entry.name),
            "owner": entry.as_ref().map(|entry| &entry.owner),
            "place": entry.as_ref().map(|NoticeEntry { city, country, lat, lon, .. }| {
                json!({ "city": city, "country": country, "lat": lat, "lon": lon })
            }),
            "codes": codes,
            "reason": reason,
            "position": position,
            "link": link,
        }),
        NoticeSubject::Node { node, verifier, reason } => json!({
            "node": node, "verifier": verifier, "reason": reason, "position": position, "link": link,
        }),
        NoticeSubject::Queue { waiting, expected_wait_s } => json!({
            "waiting": waiting, "expected_wait_s": expected_wait_s, "position": position, "link": link,
        }),
    }
}

/// Returns the notice as a sentence. `escape` is given each text that comes from elsewhere.
fn sentence(notice: &WebhookNotice, escape: fn(&str) -> String) -> String {
    let name = |text: &str| escape(&one_line(text, NAME_CHARS_MAX));
    let because = |text: &str| escape(&one_line(text, REASON_CHARS_MAX));
    match &notice.subject {
        NoticeSubject::Submission { submission, entry, reason, .. } => {
            let who = match entry {
                Some(NoticeEntry { name: who, owner, city, country, .. }) => {
                    format!("{} ({}, {}, {})", name(who), name(owner), name(city), name(country))
                }
                None => format!("The submission {}", name(&submission.to_string())),
            };
            let done = match notice.kind {
                NoticeKind::Passed => "passed",
                NoticeKind::Failed => "failed",
                _ => "is stuck",
            };
            match reason {
                Some(reason) => format!("{who} {done}: {}", because(reason)),
                None => format!("{who} {done}."),
            }
        }
        NoticeSubject::Node { node, verifier, reason } => {
            format!("The node {} is lost, says {}: {}", name(node), name(verifier), because(reason))
        }
        NoticeSubject::Queue { waiting, expected_wait_s: None } => {
            format!("The queue is long: {waiting} submissions wait.")
        }
        NoticeSubject::Queue { waiting, expected_wait_s: Some(seconds) } => {
            format!(
                "The queue is long: {waiting} submissions wait, the newest for {} min.",
                seconds.div_ceil(60)
            )
        }
    }
}

fn with_link(sentence: String, link: Option<String>) -> String {
    link.map_or_else(|| sentence.clone(), |link| format!("{sentence}\n{link}"))
}

/// Returns a text in one line, without characters that are not seen or that turn the direction of others.
fn one_line(text: &str, chars_max: usize) -> String {
    let is_unseen = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
    };
    let seen: String = text.chars().map(|c| if is_unseen(c) { ' ' } else { c }).collect();
    let line = seen.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(chars_max) {
        None => line,
        Some((cut, _)) => format!("{}…", &line[..cut]),
    }
}

/// Escapes a text for Slack, which reads `<!channel>` and `<https://…|text>` even where formatting is off.
fn slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Escapes a text for Discord: a backslash takes the meaning of any sign away, also of those that begin a link or a
/// mention.
fn discord(text: &str) -> String {
    let escaped = |c: char| if c.is_ascii_punctuation() { format!("\\{c}") } else { c.to_string() };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use domain::SubmissionId;
    use event_store::Position;
    use uuid::Uuid;

    use super::*;

    fn named(name: &str, reason: Option<&str>) -> WebhookNotice {
        let entry = NoticeEntry {
            name: name.to_owned(),
            owner: "docker.io/ada".to_owned(),
            city: "London".to_owned(),
            country: "GB".to_owned(),
            lat: 51.5,
            lon: -0.1,
        };
        WebhookNotice {
            id: "msg_1".to_owned(),
            kind: if reason.is_some() { NoticeKind::Failed } else { NoticeKind::Passed },
            at: "2016-03-21T12:00:00Z".parse().unwrap(),
            position: Position(7),
            subject: NoticeSubject::Submission {
                submission: SubmissionId(Uuid::from_u128(10)),
                entry: Some(entry),
                codes: Vec::new(),
                reason: reason.map(str::to_owned),
            },
        }
    }

    fn body(form: WebhookForm, notice: &WebhookNotice) -> Value {
        let pages = Url::parse("https://muster.example/").unwrap();
        serde_json::from_slice(&form.body(notice, Some(&pages))).unwrap()
    }

    #[test]
    fn plain_json_has_all_facts() {
        let body = body(WebhookForm::Json, &named("Ada <b>", Some("It answered 500.")));
        let expected = json!({
            "type": "failed",
            "timestamp": "2016-03-21T12:00:00Z",
            "data": {
                "submission": "00000000-0000-0000-0000-00000000000a",
                "name": "Ada <b>",
                "owner": "docker.io/ada",
                "place": { "city": "London", "country": "GB", "lat": 51.5, "lon": -0.1 },
                "codes": [],
                "reason": "It answered 500.",
                "position": 7,
                "link": "https://muster.example/s/00000000-0000-0000-0000-00000000000a",
            },
        });
        assert_eq!(body, expected);
        let without: Value =
            serde_json::from_slice(&WebhookForm::Json.body(&named("Ada", None), None)).unwrap();
        assert_eq!(without["data"]["link"], Value::Null);
    }

    #[test]
    fn a_hostile_name_is_only_a_name_in_slack() {
        for (name, shown) in [
            ("<!channel> hi", "&lt;!channel&gt; hi"),
            ("<https://evil.example|Ada>", "&lt;https://evil.example|Ada&gt;"),
            ("&lt;!here&gt;", "&amp;lt;!here&amp;gt;"),
            ("Ada\n\u{202e}<@U1>\u{200b}", "Ada &lt;@U1&gt;"),
        ] {
            let body = body(WebhookForm::Slack, &named(name, None));
            let text = body["text"].as_str().unwrap();
            assert!(text.starts_with(&format!("{shown} (docker.io/ada, London, GB) passed.\n")), "{text}");
            assert_eq!(body["mrkdwn"], false);
            assert!(!text.contains(['<', '>']) && text.lines().count() == 2, "{text}");
        }
    }

    #[test]
    fn a_hostile_name_is_only_a_name_in_discord() {
        for (name, shown) in [
            ("@everyone", "\\@everyone"),
            ("<@&1234>", "\\<\\@\\&1234\\>"),
            ("[Ada](https://evil.example)", "\\[Ada\\]\\(https\\:\\/\\/evil\\.example\\)"),
            ("# **Ada** ||x||", "\\# \\*\\*Ada\\*\\* \\|\\|x\\|\\|"),
            ("back\\slash`", "back\\\\slash\\`"),
        ] {
            let body = body(WebhookForm::Discord, &named(name, None));
            let content = body["content"].as_str().unwrap();
            assert!(
                content.starts_with(&format!("{shown} \\(")) || content.starts_with(&format!("{shown} ("))
            );
            assert_eq!(body["allowed_mentions"]["parse"], json!([]));
        }
        let long = body(WebhookForm::Discord, &named(&"*".repeat(5000), Some(&"_".repeat(5000))));
        assert!(long["content"].as_str().unwrap().chars().count() <= 2000);
    }
}
