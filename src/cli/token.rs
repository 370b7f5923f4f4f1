//! `muster token`: organisers by name, each with a token of their own.

use super::Exit;
use super::client::{ServerOption, TokenOption};
use super::error::CliError;

/// Adds, lists and revokes tokens of organisers by name. The token in MUSTER_TOKEN, or one of the role `organiser`, is needed.
///
/// Exit codes: 0 done, 2 the request is wrong, 3 the server cannot be reached.
#[derive(Debug, clap::Args)]
pub(super) struct TokenCommand {
    #[command(subcommand)]
    act: TokenAct,
}

#[derive(Debug, clap::Subcommand)]
enum TokenAct {
    /// Makes a token and prints its secret, which is shown only once
    Add {
        /// Name of the person
        name: String,

        /// Rights: `organiser` (everything), `venue:NAME` (that venue only), `analyst` (reads and exports) or `operator` (metrics)
        #[arg(long, value_name = "ROLE")]
        role: String,

        #[command(flatten)]
        server: ServerOption,

        #[command(flatten)]
        token: TokenOption,
    },
    /// Lists the tokens, without their secrets
    List {
        #[command(flatten)]
        server: ServerOption,

        #[command(flatten)]
        token: TokenOption,
    },
    /// Revokes a token: no process takes it any more
    Revoke {
        /// Name of the token
        name: String,

        #[command(flatten)]
        server: ServerOption,

        #[command(flatten)]
        token: TokenOption,
    },
}

impl TokenCommand {
    pub(super) async fn run(self) -> Exit {
        let done = async {
            match self.act {
                TokenAct::Add { name, role, server, token } => {
                    println!("{}", server.client()?.add_token(&name, &role, &token).await?);
                }
                TokenAct::List { server, token } => {
                    for listed in server.client()?.tokens(&token).await? {
                        println!("{listed}");
                    }
                }
                TokenAct::Revoke { name, server, token } => {
                    server.client()?.revoke_token(&name, &token).await?;
                    println!("{name}: revoked");
                }
            }
            Ok::<_, CliError>(())
        };
        match done.await {
            Ok(()) => Exit::Success,
            Err(error) => error.fail(),
        }
    }
}
