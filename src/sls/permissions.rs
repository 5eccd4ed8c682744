//! The permissions in RAM that a consumer needs, call by call, and the policy that grants them.
//!
//! Source: Alibaba Cloud SLS, "RAM authorization", which names the action and the resource of each call. A resource is
//! `acs:log:{region}:{account}:project/{project}/…`; region and account can be `*`.

use serde_json::{Value, json};

use super::Config;
use super::message::Call;
use crate::core::wildcard;

/// The names of a source, which permissions refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Project.
    pub project: String,
    /// Logstore, or a pattern of names.
    pub logstore: String,
    /// Consumer group.
    pub group: String,
    /// Whether the group may be changed: `sls.manage_group`.
    pub manage_group: bool,
    /// Whether probe logs are written: `probe.enabled`.
    pub probe: bool,
}

impl From<&Config> for Scope {
    fn from(config: &Config) -> Self {
        let Config { project, logstore, group, manage_group, probe, .. } = config.clone();
        Self { project, logstore, group, manage_group, probe }
    }
}

/// A permission: an action on a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// `log:ListShards`.
    pub action: &'static str,
    /// The resource.
    pub on: On,
}

/// The resource of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// The project.
    Project,
    /// Every logstore of the project.
    Logstores,
    /// The logstore.
    Logstore,
    /// Every consumer group of the logstore.
    Groups,
    /// Our consumer group.
    Group,
}

impl Permission {
    const fn new(action: &'static str, on: On) -> Self {
        Self { action, on }
    }

    /// The permission that a call needs.
    #[must_use]
    pub const fn of(call: Call) -> Self {
        match call {
            Call::ListGroups => Self::new("log:ListConsumerGroup", On::Groups),
            Call::CreateGroup => Self::new("log:CreateConsumerGroup", On::Groups),
            Call::UpdateGroup => Self::new("log:UpdateConsumerGroup", On::Group),
            Call::Heartbeat => Self::new("log:ConsumerGroupHeartBeat", On::Group),
            Call::Checkpoint => Self::new("log:GetConsumerGroupCheckPoint", On::Group),
            Call::Save => Self::new("log:ConsumerGroupUpdateCheckPoint", On::Group),
            Call::Cursor | Call::CursorTime | Call::Pull => Self::new("log:GetCursorOrData", On::Logstore),
            Call::ListShards => Self::new("log:ListShards", On::Logstore),
            Call::Logstore => Self::new("log:GetLogStore", On::Logstore),
            Call::Put => Self::new("log:PostLogStoreLogs", On::Logstore),
            Call::ListLogstores => Self::new("log:ListLogStores", On::Logstores),
            Call::Project => Self::new("log:GetProject", On::Project),
        }
    }

    /// What to do when it is missing, with the statement of a policy that grants it for these settings.
    #[must_use]
    pub fn grant(self, scope: &Scope) -> String {
        let statement = statement(&[self.action], &self.on.resource(scope));
        format!("grant {} in RAM: {statement}; forwarder policy prints the whole policy", self.action)
    }
}

impl On {
    /// The resource in the form of a policy.
    #[must_use]
    pub fn resource(self, scope: &Scope) -> String {
        let Scope { project, logstore, group, .. } = scope;
        let project = format!("acs:log:*:*:project/{project}");
        // A pattern is used in a policy unchanged: RAM has the same wildcards.
        let logstore = format!("{project}/logstore/{logstore}");
        match self {
            Self::Project => project,
            Self::Logstores => format!("{project}/logstore/*"),
            Self::Logstore => logstore,
            Self::Groups => format!("{logstore}/consumergroup/*"),
            Self::Group => format!("{logstore}/consumergroup/{group}"),
        }
    }
}

/// The calls that the program and `forwarder check` make with these settings.
fn calls(scope: &Scope) -> Vec<Call> {
    let mut calls = vec![
        Call::Pull,
        Call::ListShards,
        Call::Logstore,
        Call::ListGroups,
        Call::CreateGroup,
        Call::Heartbeat,
        Call::Checkpoint,
        Call::Save,
    ];
    if scope.manage_group {
        calls.push(Call::UpdateGroup);
    }
    if scope.probe {
        calls.push(Call::Put);
    }
    if wildcard::has_wildcards(&scope.logstore) {
        calls.push(Call::ListLogstores);
    }
    calls
}

/// The least policy for reading these sources: one statement per resource, no permission twice.
#[must_use]
pub fn policy<'a>(sources: impl IntoIterator<Item = &'a Scope>) -> Value {
    let mut statements: Vec<(String, Vec<&'static str>)> = Vec::new();
    for scope in sources {
        let mut permissions: Vec<Permission> = calls(scope).into_iter().map(Permission::of).collect();
        permissions.sort_by_key(|permission| permission.on);
        for permission in permissions {
            let resource = permission.on.resource(scope);
            match statements.iter_mut().find(|(known, _)| *known == resource) {
                Some((_, actions)) if actions.contains(&permission.action) => {}
                Some((_, actions)) => actions.push(permission.action),
                None => statements.push((resource, vec![permission.action])),
            }
        }
    }
    let statements: Vec<Value> = statements.iter().map(|(resource, actions)| statement(actions, resource)).collect();
    json!({ "Version": "1", "Statement": statements })
}

fn statement(actions: &[&str], resource: &str) -> Value {
    json!({ "Effect": "Allow", "Action": actions, "Resource": resource })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(logstore: &str) -> Scope {
        Scope {
            project: "p".to_owned(),
            logstore: logstore.to_owned(),
            group: "siem".to_owned(),
            manage_group: false,
            probe: false,
        }
    }

    #[test]
    fn each_resource_has_one_statement_and_each_permission_appears_once() {
        let policy = policy([&scope("a"), &scope("b"), &scope("a")]);
        let statements = policy["Statement"].as_array().unwrap();
        let resources: Vec<_> = statements.iter().map(|statement| statement["Resource"].as_str().unwrap()).collect();
        let of = |logstore: &str| {
            let logstore = format!("acs:log:*:*:project/p/logstore/{logstore}");
            [logstore.clone(), format!("{logstore}/consumergroup/*"), format!("{logstore}/consumergroup/siem")]
        };
        assert_eq!(resources, [of("a"), of("b")].concat());
        assert_eq!(statements[0]["Action"], json!(["log:GetCursorOrData", "log:ListShards", "log:GetLogStore"]));
    }

    #[test]
    fn probe_logs_need_write_permission() {
        let probing = Scope { probe: true, ..scope("a") };
        assert!(policy([&probing]).to_string().contains("log:PostLogStoreLogs"));
        assert!(!policy([&scope("a")]).to_string().contains("log:PostLogStoreLogs"));
    }

    #[test]
    fn a_pattern_needs_permission_to_list_logstores_and_appears_unchanged_in_the_resources() {
        let policy = policy([&scope("audit-*")]);
        let statements = policy["Statement"].as_array().unwrap();
        let of = |at: usize| (statements[at]["Resource"].as_str().unwrap(), &statements[at]["Action"]);
        assert_eq!(of(0), ("acs:log:*:*:project/p/logstore/*", &json!(["log:ListLogStores"])));
        assert_eq!(of(1).0, "acs:log:*:*:project/p/logstore/audit-*");
    }

    #[test]
    fn managing_the_group_needs_one_more_permission() {
        let changing = Scope { manage_group: true, ..scope("a") };
        assert!(policy([&changing]).to_string().contains("log:UpdateConsumerGroup"));
        assert!(!policy([&scope("a")]).to_string().contains("log:UpdateConsumerGroup"));
    }
}
