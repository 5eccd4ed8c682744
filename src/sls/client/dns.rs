//! Resolves the name of an endpoint, and remembers the last answer for when the resolver has none.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::timeout;

/// How long a connection waits for the resolver before it uses the last known address. Far below the time limit of a
/// heartbeat.
const RESOLVER_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the resolver.
type LookUp = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

/// Asks the system's resolver for every new connection, and remembers its answers.
///
/// A resolver that hangs or fails must not stop heartbeats to an SLS that works: the last answer is used then. A name
/// that was never resolved is an error.
#[derive(Clone)]
pub(super) struct Remembering {
    look_up: Arc<LookUp>,
    /// The last answer for each name. There are few: the endpoint, and proxies.
    known: Arc<Mutex<BTreeMap<String, Vec<SocketAddr>>>>,
}

impl Remembering {
    /// Uses the system's resolver.
    pub(super) fn system() -> Self {
        Self::new(|name| Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }))
    }

    pub(super) fn new(
        look_up: impl Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync + 'static,
    ) -> Self {
        Self { look_up: Arc::new(look_up), known: Arc::default() }
    }

    async fn addresses(&self, name: String) -> io::Result<Vec<SocketAddr>> {
        let answer = timeout(RESOLVER_TIMEOUT, (self.look_up)(name.clone())).await;
        let fault = match answer {
            Ok(Ok(found)) if !found.is_empty() => {
                self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name, found.clone());
                return Ok(found);
            }
            Ok(Ok(_)) => io::Error::new(io::ErrorKind::NotFound, format!("DNS has no address for {name}")),
            Ok(Err(fault)) => fault,
            Err(_) => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer from DNS for {name} within {RESOLVER_TIMEOUT:?}"),
            ),
        };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        known.inspect(|_| tracing::debug!("{fault}: connecting to the last known address of {name}")).ok_or(fault)
    }
}

impl Resolve for Remembering {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let found = this.addresses(name.as_str().to_owned()).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

impl fmt::Debug for Remembering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembering").field("known", &self.known).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    enum Answer {
        Leads(&'static str),
        Fails,
        Empty,
        Silent,
    }

    /// A resolver that answers from a list.
    fn resolver(answers: impl IntoIterator<Item = Answer>) -> Remembering {
        let answers = Mutex::new(answers.into_iter().collect::<VecDeque<_>>());
        Remembering::new(move |_| {
            let answer = answers.lock().unwrap().pop_front().expect("one more question than expected");
            Box::pin(async move {
                match answer {
                    Answer::Leads(to) => Ok(vec![to.parse().unwrap()]),
                    Answer::Fails => Err(io::Error::other("the resolver is down")),
                    Answer::Empty => Ok(Vec::new()),
                    Answer::Silent => pending().await,
                }
            })
        })
    }

    async fn ask(resolver: &Remembering) -> Result<String, String> {
        match resolver.addresses("p.sls.example".to_owned()).await {
            Ok(found) => Ok(found[0].to_string()),
            Err(fault) => Err(fault.to_string()),
        }
    }

    const OLD: &str = "192.0.2.1:0";
    const NEW: &str = "192.0.2.2:0";

    #[tokio::test(start_paused = true)]
    async fn f13_the_last_dns_answer_is_used_while_a_resolver_hangs_or_fails() {
        let resolver = resolver([
            Answer::Leads(OLD),
            Answer::Silent,
            Answer::Fails,
            Answer::Empty,
            Answer::Leads(NEW),
            Answer::Fails,
        ]);
        assert_eq!(ask(&resolver).await.unwrap(), OLD);
        let asked = Instant::now();
        assert_eq!(ask(&resolver).await.unwrap(), OLD);
        assert_eq!(asked.elapsed(), RESOLVER_TIMEOUT);
        assert_eq!(ask(&resolver).await.unwrap(), OLD);
        assert_eq!(ask(&resolver).await.unwrap(), OLD);
        assert_eq!(ask(&resolver).await.unwrap(), NEW, "a name that moved is followed");
        assert_eq!(ask(&resolver).await.unwrap(), NEW);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_was_never_resolved_is_an_error_that_says_why() {
        let resolver = resolver([Answer::Silent, Answer::Fails, Answer::Empty]);
        assert_eq!(ask(&resolver).await.unwrap_err(), "no answer from DNS for p.sls.example within 2s");
        assert_eq!(ask(&resolver).await.unwrap_err(), "the resolver is down");
        assert_eq!(ask(&resolver).await.unwrap_err(), "DNS has no address for p.sls.example");
    }
}
