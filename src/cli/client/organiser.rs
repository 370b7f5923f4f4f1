//! The requests of analysts and organisers: the past, history, rejudging.

use domain::SubmissionId;
use domain::challenge::RequiredImages;
use jiff::Timestamp;
use projections::view::StatsView;
use reqwest::{RequestBuilder, Response};
use serde::Deserialize;

use crate::config::SecretText;

use super::{ClientError, MusterClient, PAUSE, RESPONSE_DEADLINE, StatusReply, patiently};

/// The flag with the organiser's token.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TokenOption {
    /// Token of the organisers
    #[arg(long, env = "MUSTER_TOKEN", value_name = "SECRET", hide_env_values = true)]
    token: Option<SecretText>,
}

/// The rules now in force, as far as rejudging needs them.
#[derive(Debug, Deserialize)]
pub(crate) struct ChallengeReply {
    /// The digest of the rules.
    pub(crate) rules: String,
    pub(crate) images: ImagesReply,
    pub(crate) probe: ProbeReply,
}

/// The name of published rules.
#[derive(Debug, Deserialize)]
struct PublishedReply {
    rules: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ImagesReply {
    pub(crate) answering: RequiredImages,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ProbeReply {
    pub(crate) compare: Vec<String>,
}

/// A token that was made.
#[derive(Debug, Deserialize)]
struct NewTokenReply {
    token: String,
}

#[derive(Debug, Deserialize)]
struct TokenListReply {
    tokens: Vec<ListedTokenReply>,
}

#[derive(Debug, Deserialize)]
struct ListedTokenReply {
    name: String,
    role: String,
    added_at: Timestamp,
    added_by: Option<String>,
}

/// The response to a command. Its fields are not needed: the status is another request.
#[derive(Debug, Deserialize)]
struct CommandReply {}

impl TokenOption {
    fn authorise(&self, request: RequestBuilder) -> RequestBuilder {
        match self.token.as_ref().map(SecretText::as_str).filter(|token| !token.is_empty()) {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

impl MusterClient {
    /// Returns the status that a submission had at a moment.
    pub(crate) async fn status_at(
        &self,
        id: SubmissionId,
        at: Timestamp,
    ) -> Result<StatusReply, ClientError> {
        let path = format!("/api/v1/submissions/{id}");
        self.ask(self.get(&path, &[("at", at.to_string())]).timeout(RESPONSE_DEADLINE)).await
    }

    /// Returns the totals, now or at a moment.
    pub(crate) async fn stats(&self, at: Option<Timestamp>) -> Result<StatsView, ClientError> {
        let at = at.map(|at| ("at", at.to_string()));
        self.ask(self.get("/api/v1/stats", at.as_slice()).timeout(RESPONSE_DEADLINE)).await
    }

    /// Returns the rules now in force.
    pub(crate) async fn rules(&self) -> Result<ChallengeReply, ClientError> {
        self.ask(self.get("/api/v1/challenge", &[]).timeout(RESPONSE_DEADLINE)).await
    }

    /// Returns the digest of the rules that an event names by `digest`, or `None` if the server does not know them. Versions
    /// before the publication of rules gave the same rules another digest.
    pub(crate) async fn published_rules(&self, digest: &str) -> Result<Option<String>, ClientError> {
        let get = self.get("/api/v1/challenge", &[("digest", digest.to_owned())]);
        let get = || get.try_clone().expect("a request without a body can be repeated");
        let ask = async || self.ask::<PublishedReply>(get().timeout(RESPONSE_DEADLINE)).await;
        match patiently(ask).await {
            Ok(published) => Ok(Some(published.rules)),
            Err(ClientError::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends an organiser's command, such as `rejudge` or `hide`, and waits if the rate limit is reached.
    pub(crate) async fn organise(
        &self,
        id: SubmissionId,
        command: &str,
        body: &serde_json::Value,
        token: &TokenOption,
    ) -> Result<(), ClientError> {
        let send = async || -> Result<CommandReply, ClientError> {
            let post = self.http.post(self.url(&format!("/api/v1/submissions/{id}/{command}")));
            let post = post.json(body);
            self.ask(token.authorise(post.timeout(RESPONSE_DEADLINE))).await
        };
        patiently(send).await.map(drop)
    }

    /// Adds a token by name, and returns its secret.
    pub(crate) async fn add_token(
        &self,
        name: &str,
        role: &str,
        token: &TokenOption,
    ) -> Result<String, ClientError> {
        let body = serde_json::json!({ "name": name, "role": role });
        let post = self.http.post(self.url("/api/v1/tokens")).json(&body).timeout(RESPONSE_DEADLINE);
        let made: NewTokenReply = self.ask(token.authorise(post)).await?;
        Ok(made.token)
    }

    /// Returns a line for each token by name: the name, the role, when it was added and by whom.
    pub(crate) async fn tokens(&self, token: &TokenOption) -> Result<Vec<String>, ClientError> {
        let get = self.get("/api/v1/tokens", &[]).timeout(RESPONSE_DEADLINE);
        let list: TokenListReply = self.ask(token.authorise(get)).await?;
        let lines = list.tokens.into_iter().map(|ListedTokenReply { name, role, added_at, added_by }| {
            let by = added_by.map(|by| format!(" by {by}")).unwrap_or_default();
            format!("{name}  {role}  added {added_at}{by}")
        });
        Ok(lines.collect())
    }

    /// Revokes a token by name.
    pub(crate) async fn revoke_token(&self, name: &str, token: &TokenOption) -> Result<(), ClientError> {
        let mut url = self.url("/api/v1/tokens");
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(name);
        }
        let delete = self.http.delete(url).timeout(RESPONSE_DEADLINE);
        self.open(token.authorise(delete)).await.map(drop)
    }

    /// Withdraws a submission.
    pub(crate) async fn withdraw(&self, id: SubmissionId) -> Result<(), ClientError> {
        let post = self.http.post(self.url(&format!("/api/v1/submissions/{id}/withdraw")));
        self.ask::<CommandReply>(post.timeout(RESPONSE_DEADLINE)).await.map(drop)
    }

    /// Requests history with these query parameters. The body arrives while it is read.
    pub(crate) async fn history(
        &self,
        query: &[(&str, String)],
        token: &TokenOption,
    ) -> Result<Response, ClientError> {
        self.open(token.authorise(self.get("/api/v1/history", query))).await
    }

    fn get(&self, path: &str, query: &[(&str, String)]) -> RequestBuilder {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.get(url)
    }

    /// Returns the error for a server that sent nothing for too long.
    pub(crate) fn silence_error(&self) -> ClientError {
        ClientError::Unavailable { why: format!("{} stopped sending", self.server), pause: PAUSE }
    }
}
