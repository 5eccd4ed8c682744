//! The settings of the providers of keys for SLS, also in `[sls]`.

use std::path::PathBuf;
use std::time::Duration;

use super::choices::CredentialSource;
use super::key::Key;
use super::row::Row;

/// In the order of the documentation.
pub(super) const KEYS: &[&Row] = &[
    &SOURCE.row,
    &ROLE_ARN.row,
    &ROLE_SESSION_NAME.row,
    &ROLE_EXTERNAL_ID.row,
    &ROLE_DURATION.row,
    &OIDC_ROLE_ARN.row,
    &OIDC_PROVIDER_ARN.row,
    &OIDC_TOKEN_FILE.row,
    &PROFILE.row,
    &PROFILE_FILE.row,
    &INI_FILE.row,
    &ECS_ROLE.row,
    &METADATA_DISABLED.row,
    &METADATA_V1.row,
    &METADATA_ENDPOINT.row,
    &URI.row,
    &STS_ENDPOINT.row,
    &STS_REGION.row,
    &STS_VPC.row,
];

pub const SOURCE: Key<CredentialSource> = Key::choice("sls.credentials").default("auto").means(
    "provider of the signing key; auto uses a given AccessKey (sls.access_key_id and so on), else the first of oidc, \
     profile, ini, ecs, uri that is set up",
);

pub const ROLE_ARN: Key<String> = Key::text("sls.role_arn").means(
    "RAM role to assume with that key, such as acs:ram::1234567890123456:role/log-reader; it may belong to another account",
);

pub const ROLE_SESSION_NAME: Key<String> = Key::text("sls.role_session_name")
    .computed("forwarder-{hostname}")
    .also(&["ALIBABA_CLOUD_ROLE_SESSION_NAME"])
    .means("name that ActionTrail shows for the session of a role");

pub const ROLE_EXTERNAL_ID: Key<String> =
    Key::text("sls.role_external_id").means("external ID that the trust policy of sls.role_arn requires");

pub const ROLE_DURATION: Key<Duration> = Key::seconds("sls.role_duration", Duration::from_secs(900))
    .default("1h")
    .means("how long a session of a role lasts; at most the maximum session time of the role");

pub const OIDC_ROLE_ARN: Key<String> = Key::text("sls.oidc_role_arn")
    .also(&["ALIBABA_CLOUD_ROLE_ARN"])
    .means("RAM role to assume with an identity provider's token (RRSA in Kubernetes)");

pub const OIDC_PROVIDER_ARN: Key<String> = Key::text("sls.oidc_provider_arn")
    .also(&["ALIBABA_CLOUD_OIDC_PROVIDER_ARN"])
    .means("the identity provider in RAM, such as acs:ram::1234567890123456:oidc-provider/ack-rrsa-c1");

pub const OIDC_TOKEN_FILE: Key<PathBuf> = Key::path("sls.oidc_token_file")
    .also(&["ALIBABA_CLOUD_OIDC_TOKEN_FILE"])
    .means("file with the identity provider's token; read for every session");

pub const PROFILE: Key<String> = Key::text("sls.profile")
    .computed("the current profile of config.json, the section default of credentials.ini")
    .also(&["ALIBABA_CLOUD_PROFILE"])
    .means("name of the profile or section to use");

pub const PROFILE_FILE: Key<PathBuf> =
    Key::path("sls.profile_file").computed("~/.aliyun/config.json").means("profiles of the vendor's command line tool");

pub const INI_FILE: Key<PathBuf> = Key::path("sls.ini_file")
    .computed("~/.alibabacloud/credentials.ini")
    .also(&["ALIBABA_CLOUD_CREDENTIALS_FILE"])
    .means("credentials file of the vendor's SDKs");

pub const ECS_ROLE: Key<String> = Key::text("sls.ecs_role")
    .computed("the role of the instance")
    .also(&["ALIBABA_CLOUD_ECS_METADATA"])
    .means("name of the RAM role of this ECS instance");

pub const METADATA_DISABLED: Key<bool> = Key::switch("sls.metadata_disabled")
    .default("false")
    .also(&["ALIBABA_CLOUD_ECS_METADATA_DISABLED"])
    .means("never use the metadata service of ECS");

pub const METADATA_V1: Key<bool> = Key::switch("sls.metadata_v1")
    .default("false")
    .means("use version 1 of the metadata service, which needs no token, where version 2 does not answer");

pub const METADATA_ENDPOINT: Key<String> =
    Key::text("sls.metadata_endpoint").default("http://100.100.100.200").means("the metadata service of ECS");

pub const URI: Key<String> = Key::text("sls.credentials_uri")
    .also(&["ALIBABA_CLOUD_CREDENTIALS_URI"])
    .means("URL of a service that returns a temporary key as JSON");

pub const STS_ENDPOINT: Key<String> = Key::text("sls.sts_endpoint")
    .computed("https://sts.aliyuncs.com, or that of sls.sts_region")
    .means("endpoint of the Security Token Service, where roles are assumed");

pub const STS_REGION: Key<String> = Key::text("sls.sts_region")
    .also(&["ALIBABA_CLOUD_STS_REGION"])
    .means("region ID of the Security Token Service, such as cn-hangzhou");

pub const STS_VPC: Key<bool> = Key::switch("sls.sts_vpc")
    .default("false")
    .also(&["ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED"])
    .means("reach the Security Token Service inside the VPC; needs sls.sts_region");
