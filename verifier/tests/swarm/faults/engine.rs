//! Failures of managers.

use anyhow::{Result, ensure};
use testbed::App;

use super::proxy::Manner;
use super::scene::{Scene, told};

const LEADERLESS: &str = "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too \
    few managers are online. Make sure more than half of the managers are online.";

/// The manager creates the service, but its response is lost. The second call finds that the name is taken,
/// and that the service with that name is ours.
pub(super) async fn an_answer_that_is_lost_is_not_asked_for_twice(scene: &Scene) -> Result<()> {
    told("the answer to a create is lost", async {
        scene.engines.misbehave("POST /services/create", Manner::Forget, 1);
        let id = scene.submit("lost", App::good).await?;
        let (interruptions, _) = scene.passes(id).await?;
        ensure!(scene.engines.behave() == 1 && interruptions.is_empty(), "{interruptions:?}");
        Ok(())
    })
    .await
}

/// During an election, every manager refuses every request.
pub(super) async fn a_swarm_without_a_leader_is_waited_for(scene: &Scene) -> Result<()> {
    told("the Swarm has no leader", async {
        // A caller that was refused tries again, and finds that the Swarm has a leader.
        scene.engines.misbehave("POST /services/create", Manner::Say(500, LEADERLESS), 1);
        scene.engines.misbehave("DELETE /services/", Manner::Say(500, LEADERLESS), 2);
        scene.engines.misbehave("GET /tasks", Manner::Say(500, LEADERLESS), 2);
        let id = scene.submit("leaderless", App::good).await?;
        let (interruptions, _) = scene.passes(id).await?;
        ensure!(scene.engines.behave() > 0 && interruptions.is_empty(), "{interruptions:?}");
        Ok(())
    })
    .await
}

/// The client's own timeout ends at the response's head, so the verifier has one around the whole call.
pub(super) async fn a_manager_that_stalls_is_passed_over(scene: &Scene) -> Result<()> {
    told("a manager answers with a head and then nothing", async {
        for begins in ["POST /services/create", "GET /services/", "GET /tasks", "GET /nodes"] {
            scene.engines.misbehave(begins, Manner::Stall, 1);
        }
        let id = scene.submit("stalled", App::good).await?;
        let (interruptions, _) = scene.passes(id).await?;
        ensure!(scene.engines.behave() > 0 && interruptions.is_empty(), "{interruptions:?}");
        Ok(())
    })
    .await
}
