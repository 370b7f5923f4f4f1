//! What analysts and organisers ask: moments of the past, history, rejudging.

use domain::SubmissionId;
use domain::challenge::RequiredImages;
use jiff::Timestamp;
use projections::view::StatsView;
use reqwest::{RequestBuilder, Response};
use serde::Deserialize;

use super::{ClientError, DEADLINES, MusterClient, PAUSE, StatusReply, patiently};

/// Whoever may see and do what is not public.
#[derive(Debug, clap::Args)]
pub(crate) struct TokenOption {
    /// The organisers' token
    #[arg(long, env = "MUSTER_TOKEN", value_name = "SECRET", hide_env_values = true)]
    token: Option<String>,
}

/// The rules that verdicts are reached by now, as far as they are told.
#[derive(Debug, Deserialize)]
pub(crate) struct ChallengeReply {
    /// Their digest.
    pub(crate) rules: String,
    pub(crate) images: ImagesReply,
    pub(crate) probe: ProbeReply,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ImagesReply {
    pub(crate) answering: RequiredImages,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ProbeReply {
    pub(crate) compare: Vec<String>,
}

/// What a request for another verdict is answered with; where it then stands
/// is asked for like any other status.
#[derive(Debug, Deserialize)]
struct RejudgeReply {}

impl TokenOption {
    fn authorise(&self, request: RequestBuilder) -> RequestBuilder {
        match self.token.as_deref().filter(|token| !token.is_empty()) {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

impl MusterClient {
    /// Where a submission stood at a moment.
    pub(crate) async fn status_at(
        &self,
        id: SubmissionId,
        at: Timestamp,
    ) -> Result<StatusReply, ClientError> {
        let path = format!("/api/v1/submissions/{id}");
        self.ask(self.get(&path, &[("at", at.to_string())]).timeout(DEADLINES[1])).await
    }

    /// The totals, now or at a moment.
    pub(crate) async fn stats(&self, at: Option<Timestamp>) -> Result<StatsView, ClientError> {
        let at = at.map(|at| ("at", at.to_string()));
        self.ask(self.get("/api/v1/stats", at.as_slice()).timeout(DEADLINES[1])).await
    }

    /// The rules now in force.
    pub(crate) async fn rules(&self) -> Result<ChallengeReply, ClientError> {
        self.ask(self.get("/api/v1/challenge", &[]).timeout(DEADLINES[1])).await
    }

    /// Asks for another verdict; waits for its turn when there are many to be asked for.
    pub(crate) async fn rejudge(
        &self,
        id: SubmissionId,
        why: &str,
        token: &TokenOption,
    ) -> Result<(), ClientError> {
        let send = async || -> Result<RejudgeReply, ClientError> {
            let post = self.http.post(self.url(&format!("/api/v1/submissions/{id}/rejudge")));
            let post = post.json(&serde_json::json!({ "why": why }));
            self.ask(token.authorise(post.timeout(DEADLINES[1]))).await
        };
        patiently(send).await.map(drop)
    }

    /// The history that `query` asks for, as it comes.
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

    /// What is to be said when it says nothing for too long.
    pub(crate) fn silent(&self) -> ClientError {
        ClientError::Unavailable { why: format!("{} is silent", self.server), pause: PAUSE }
    }
}
