//! The members: one for each URL, or one for each address of its host name. Names are looked up again while requests
//! are sent.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use reqwest::Url;
use tokio::sync::{Notify, OnceCell};
use tokio::time::{Instant, timeout};

use super::addresses::{ADDRESS_LOOKUP_INTERVAL, Addresses};
use super::choice::Level;
use super::concurrency::ConcurrencyLimit;
use super::config_error::ConfigError;
use super::member::Member;
use super::proxy;
use super::timing::Timing;
use super::{Config, MemberConfig};
use crate::core::backoff::Backoff;
use crate::destination::peers::Peers;

/// Maximum time that a lookup may delay the request that triggers it.
const ADDRESS_LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// Looks up the addresses of a name, in order of preference.
#[derive(Clone)]
pub(super) struct LookUp(Arc<dyn Fn(String) -> Finding + Send + Sync>);

type Finding = BoxFuture<'static, io::Result<Vec<IpAddr>>>;

impl LookUp {
    /// Uses the system's resolver.
    pub(super) fn system() -> Self {
        Self::new(|name| {
            Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()) })
        })
    }

    pub(super) fn new(look_up: impl Fn(String) -> Finding + Send + Sync + 'static) -> Self {
        Self(Arc::new(look_up))
    }
}

impl fmt::Debug for LookUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LookUp").finish_non_exhaustive()
    }
}

/// The current members.
#[derive(Debug)]
pub(super) struct Roster {
    maker: Arc<Maker>,
    look_up: LookUp,
    /// Whether there is a name to look up.
    has_names: bool,
    /// Set when the names have been looked up for the first time.
    begun: OnceCell<()>,
    /// Locked by the task that looks up names.
    looking: tokio::sync::Mutex<()>,
    state: Mutex<RosterState>,
}

#[derive(Debug)]
struct RosterState {
    urls: Vec<MembersOfUrl>,
    /// The members of all URLs.
    all: Arc<[Arc<Member>]>,
    /// Members that get no more requests. They are dropped when no accepted request of theirs waits for an
    /// acknowledgement.
    leaving: Vec<Weak<Member>>,
    /// When the names are looked up next.
    due: Instant,
}

/// The members for one URL.
#[derive(Debug)]
struct MembersOfUrl {
    config: MemberConfig,
    /// The host name to look up, if we connect to it directly.
    name: Option<String>,
    addresses: Addresses,
    members: BTreeMap<Option<IpAddr>, Arc<Member>>,
}

/// Creates members.
#[derive(Debug)]
struct Maker {
    config: Config,
    timing: Timing,
    peers: Peers,
    level: Arc<Level>,
    changed: Arc<Notify>,
}

impl Roster {
    /// One member for each URL, until names are looked up. Checks the settings and reads the files that they name.
    ///
    /// # Errors
    /// A setting is wrong.
    pub(super) fn new(config: &Config, timing: Timing, look_up: LookUp) -> Result<Self, ConfigError> {
        let (peers, level, changed) = Default::default();
        let maker = Maker { config: config.clone(), timing, peers, level, changed };
        let of_url = |url: &MemberConfig| {
            let member = Arc::new(maker.make(url, None)?);
            Ok(MembersOfUrl {
                config: url.clone(),
                name: name_of(config, &url.url),
                addresses: Addresses::default(),
                members: BTreeMap::from([(None, member)]),
            })
        };
        let urls: Vec<MembersOfUrl> = config.members.iter().map(of_url).collect::<Result<_, ConfigError>>()?;
        let has_names = urls.iter().any(|url| url.name.is_some());
        let state = RosterState { all: together(&urls), urls, leaving: Vec::new(), due: Instant::now() };
        Ok(Self {
            maker: Arc::new(maker),
            look_up,
            has_names,
            begun: OnceCell::new(),
            looking: tokio::sync::Mutex::default(),
            state: Mutex::new(state),
        })
    }

    /// Notified when a member may take more requests.
    pub(super) fn changed(&self) -> &Notify {
        &self.maker.changed
    }

    /// The members that get requests; at least one.
    pub(super) fn all(&self) -> Arc<[Arc<Member>]> {
        Arc::clone(&self.state().all)
    }

    /// The same, and the members that get no more requests but still wait for acknowledgements.
    pub(super) fn with_leaving(&self) -> Vec<Arc<Member>> {
        let state = self.state();
        state.all.iter().cloned().chain(state.leaving.iter().filter_map(Weak::upgrade)).collect()
    }

    /// Looks up the names if that is due. The first lookup delays every caller, a later one only the first caller.
    /// Returns whether members were added or removed.
    pub(super) async fn refresh(&self) -> bool {
        if !self.has_names {
            return false;
        }
        let mut is_changed = false;
        self.begun.get_or_init(async || is_changed |= self.look_up(Instant::now()).await).await;
        if let Ok(_looking) = self.looking.try_lock()
            && Instant::now() >= self.state().due
        {
            is_changed |= self.look_up(Instant::now()).await;
        }
        is_changed
    }

    /// Looks up the names now. Returns whether members were added or removed.
    pub(super) async fn look_up(&self, now: Instant) -> bool {
        self.state().due = now + ADDRESS_LOOKUP_INTERVAL;
        let names: Vec<(usize, String)> = {
            let state = self.state();
            let named = |(at, url): (usize, &MembersOfUrl)| Some((at, url.name.clone()?));
            state.urls.iter().enumerate().filter_map(named).collect()
        };
        let found = join_all(names.into_iter().map(async |(at, name)| (at, self.addresses(name).await))).await;
        let missing: Vec<(usize, MemberConfig, IpAddr)> = {
            let mut state = self.state();
            let mut missing = Vec::new();
            for (at, addresses) in found {
                let url = &mut state.urls[at];
                url.addresses.found(&addresses, now);
                let new = url.addresses.members().into_iter().filter(|member| !url.members.contains_key(member));
                missing.extend(new.flatten().map(|address| (at, url.config.clone(), address)));
            }
            missing
        };
        let maker = Arc::clone(&self.maker);
        // Reading the system's certificates takes a while.
        let make = move || -> Result<Vec<(usize, IpAddr, Arc<Member>)>, ConfigError> {
            let make = |(at, url, address): (usize, MemberConfig, IpAddr)| {
                Ok((at, address, Arc::new(maker.make(&url, Some(address))?)))
            };
            missing.into_iter().map(make).collect()
        };
        match tokio::task::spawn_blocking(make).await.expect("creating a client does not panic") {
            Ok(made) => self.state().change(made),
            Err(problem) => {
                tracing::warn!("cannot connect to new addresses of the collector: {problem}");
                false
            }
        }
    }

    /// Empty if there is no answer; the members then stay as they are.
    async fn addresses(&self, name: String) -> Vec<IpAddr> {
        let answer = timeout(ADDRESS_LOOKUP_TIMEOUT, (self.look_up.0)(name.clone())).await;
        answer.map_err(io::Error::from).and_then(|answer| answer).unwrap_or_else(|problem| {
            tracing::debug!(name, "no answer from DNS: {problem}");
            Vec::new()
        })
    }

    fn state(&self) -> MutexGuard<'_, RosterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RosterState {
    /// Adds new members, and removes those whose address is gone. Returns whether anything changed.
    fn change(&mut self, made: Vec<(usize, IpAddr, Arc<Member>)>) -> bool {
        let mut is_changed = !made.is_empty();
        for (at, address, member) in made {
            tracing::info!(url = member.url(), "HEC: an address of the collector's name gets requests of its own");
            self.urls[at].members.insert(Some(address), member);
        }
        for url in &mut self.urls {
            let stays = url.addresses.members();
            let (stay, leave) = std::mem::take(&mut url.members).into_iter().partition(|(at, _)| stays.contains(at));
            url.members = stay;
            let leave: BTreeMap<Option<IpAddr>, Arc<Member>> = leave;
            for member in leave.into_values() {
                tracing::info!(url = member.url(), "HEC: no more requests are sent this way");
                member.leave();
                self.leaving.push(Arc::downgrade(&member));
                is_changed = true;
            }
        }
        self.leaving.retain(|member| member.strong_count() > 0);
        self.all = together(&self.urls);
        is_changed
    }
}

impl Maker {
    fn make(&self, url: &MemberConfig, address: Option<IpAddr>) -> Result<Member, ConfigError> {
        let timing = self.timing;
        let busy = Backoff::new(timing.first, timing.most, fastrand::u64(..));
        let hold = Backoff::new(timing.hold_jitter, timing.hold_jitter, fastrand::u64(..));
        let limit = ConcurrencyLimit::new(self.config.max_requests, busy, hold, timing.hold);
        Member::new(&self.config, url, address, (self.peers.join(), &self.level), limit, &self.changed, &timing)
    }
}

fn together(urls: &[MembersOfUrl]) -> Arc<[Arc<Member>]> {
    urls.iter().flat_map(|url| url.members.values().cloned()).collect()
}

/// The host name in the URL. `None` if a proxy looks it up, or if another transport than HTTP carries the requests.
fn name_of(config: &Config, url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let is_ours = config.transport.is_none() && proxy::of(config, &url).is_none();
    url.domain().filter(|_| is_ours).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::super::timing::RETRY_TIMING;
    use super::*;

    /// Answers from a list; none for `""`.
    fn answers(answers: &[&'static str]) -> LookUp {
        let answers = Mutex::new(answers.iter().copied().collect::<VecDeque<_>>());
        LookUp::new(move |name| {
            assert_eq!(name, "splunk.test");
            let answer = answers.lock().unwrap().pop_front().expect("one more question than expected");
            let addresses: Vec<IpAddr> = answer.split_whitespace().map(|text| text.parse().unwrap()).collect();
            Box::pin(async move { if addresses.is_empty() { Err(io::Error::other("no DNS")) } else { Ok(addresses) } })
        })
    }

    fn roster(url: &str, look_up: LookUp) -> Roster {
        Roster::new(&Config::plain(url, "token"), RETRY_TIMING, look_up).unwrap()
    }

    fn members(roster: &Roster) -> Vec<String> {
        let end = |member: &Arc<Member>| member.url().rsplit('/').next().unwrap().to_owned();
        roster.all().iter().map(end).collect()
    }

    #[tokio::test]
    async fn members_come_and_go_with_the_addresses_of_the_name() {
        let roster = roster(
            "http://splunk.test:8088",
            answers(&["", "192.0.2.1", "192.0.2.1 192.0.2.2", "192.0.2.2 192.0.2.3", "", "192.0.2.2"]),
        );
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        assert!(!roster.look_up(at(0)).await && !roster.look_up(at(60)).await);
        assert_eq!(members(&roster), ["collector"], "as long as it has one, the name is the member");
        assert!(roster.look_up(at(120)).await);
        assert_eq!(members(&roster), ["collector at 192.0.2.1", "collector at 192.0.2.2"]);
        let second = Arc::clone(&roster.all()[1]);
        assert!(roster.look_up(at(180)).await && !roster.look_up(at(240)).await);
        assert_eq!(members(&roster).len(), 3);
        assert!(roster.look_up(at(490)).await);
        assert_eq!(members(&roster), ["collector at 192.0.2.2"]);
        assert!(Arc::ptr_eq(&second, &roster.all()[0]), "what is known of it is kept");
        assert_eq!(roster.with_leaving().len(), 1, "nobody waits for the others");
    }

    #[tokio::test]
    async fn neither_an_ip_address_nor_a_name_that_a_proxy_resolves_is_looked_up() {
        let literal = roster("http://192.0.2.1:8088", answers(&[]));
        assert!(!literal.refresh().await);
        let config =
            Config { proxy: Some("http://192.0.2.7:3128".to_owned()), ..Config::plain("http://splunk.test", "t") };
        let proxied = Roster::new(&config, RETRY_TIMING, answers(&[])).unwrap();
        assert!(!proxied.refresh().await);
    }

    #[tokio::test]
    async fn names_are_looked_up_by_the_first_request_and_then_once_a_minute() {
        let roster = roster("http://splunk.test", answers(&["192.0.2.1 192.0.2.2", "192.0.2.1 192.0.2.2 192.0.2.3"]));
        let request = async || (roster.refresh().await, members(&roster).len());
        let (first, second) = tokio::join!(request(), request());
        assert!(first.0 ^ second.0, "one of them looked");
        assert_eq!((first.1, second.1), (2, 2), "and both waited for it");
        assert!(!roster.refresh().await);
        roster.state().due = Instant::now();
        assert!(roster.refresh().await);
        assert_eq!(members(&roster).len(), 3);
    }
}
