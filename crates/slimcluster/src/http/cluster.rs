//! What [`Cluster`] offers to HTTP services.

use std::sync::Arc;

use axum::extract::Request;
use tokio::sync::watch;

use super::delegate::DelegateToLeader;
use super::standing::{KnownLeader, Standing, Standpoint};
use crate::Cluster;
use crate::driver;

impl Cluster {
    /// A tower layer that has the requests that `selects` picks handled on the leader, whichever node gets them. The others are handled here.
    ///
    /// For handlers with effects on the leader's side: [`Replicated`](crate::Replicated) needs no delegation, it works on every node. A leader that
    /// was cut off takes itself for the leader a moment longer than the others do; what must not happen twice goes through `Replicated`.
    ///
    /// ```
    /// # async fn example(cluster: slimcluster::Cluster) {
    /// use axum::{Router, routing::post};
    ///
    /// let app: Router = Router::new()
    ///     .route("/reports", post(|| async { "made on the leader" }))
    ///     .layer(cluster.delegate_to_leader(|request| request.uri().path().starts_with("/reports")));
    /// # }
    /// ```
    pub fn delegate_to_leader(&self, selects: impl Fn(&Request) -> bool + Send + Sync + 'static) -> DelegateToLeader {
        DelegateToLeader::new(Arc::new(SharedStandpoint(Arc::clone(self.shared()))), selects)
    }
}

/// The published view. Not a [`Cluster`]: an application that is still routed does not keep the node alive.
struct SharedStandpoint(Arc<driver::Shared>);

impl Standpoint for SharedStandpoint {
    fn standing(&self) -> Standing {
        let view = self.0.view.load();
        let leader = view.status.leader.as_ref().map(|leader| KnownLeader {
            id: leader.id,
            term: leader.term,
            http: leader.http.clone(),
            is_self: leader.is_self,
        });
        Standing { cluster: view.status.uuid, own: view.own, leader }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }
}
