//! The providers of signing keys: each one from its settings to a call that the emulated SLS accepts, and the errors
//! when it is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use forwarder::core::secret::Secret;
use forwarder::core::source::SourceError;
use forwarder::emulator::credentials;
use forwarder::emulator::credentials::{CredentialsEmulator, CredentialsFault, On, Order};
use forwarder::emulator::sls;
use forwarder::emulator::sls::SlsEmulator;
use forwarder::sls::{Connections, Credentials, Sls};

use crate::settings::{CANARY, MINIMAL, Typed};

const ROLE: &str = "acs:ram::1234567890123456:role/log-reader";
const OIDC_PROVIDER: &str = "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c1";

/// The services, and a user without any key.
struct Bench {
    given: CredentialsEmulator,
    _sls: SlsEmulator,
    typed: Option<Typed>,
}

impl Bench {
    async fn new() -> Self {
        Self::with(credentials::Config::default()).await
    }

    /// The AccessKey `LTAI-id` may assume roles, and cannot sign for SLS.
    async fn with(config: credentials::Config) -> Self {
        let keys = Some(("LTAI-id".to_owned(), Secret::new(CANARY)));
        let oidc_token = Some(Secret::new("the.oidc.token"));
        let given = CredentialsEmulator::start(credentials::Config { keys, oidc_token, ..config }).await.unwrap();
        let sls = SlsEmulator::start(sls::Config { issued: true, ..sls::Config::default() }).await.unwrap();
        let mut typed = Typed::new().unset("SLS_AK_ID").unset("SLS_AK_KEY");
        typed.machine.home = Some(typed.path("home"));
        let typed = typed
            .set("SLS_ENDPOINT", &format!("http://{}", sls.address()))
            .set("FORWARDER_SLS_STS_ENDPOINT", &given.url())
            .set("FORWARDER_SLS_METADATA_ENDPOINT", &given.url());
        fs::write(typed.path("token"), "the.oidc.token\n").unwrap();
        fs::set_permissions(typed.path("token"), fs::Permissions::from_mode(0o600)).unwrap();
        Self { given, _sls: sls, typed: Some(typed) }
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.typed = self.typed.take().map(|typed| typed.set(name, value));
        self
    }

    fn typed(&self) -> &Typed {
        self.typed.as_ref().unwrap()
    }

    fn with_key(self) -> Self {
        self.set("SLS_AK_ID", "LTAI-id").set("SLS_AK_KEY", CANARY)
    }

    fn with_oidc(self) -> Self {
        let token = self.typed().path("token");
        self.set("ALIBABA_CLOUD_ROLE_ARN", ROLE)
            .set("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", OIDC_PROVIDER)
            .set("ALIBABA_CLOUD_OIDC_TOKEN_FILE", token.to_str().unwrap())
    }

    fn with_uri(self) -> Self {
        let url = format!("{}/credentials?secret={CANARY}", self.given.url());
        self.set("ALIBABA_CLOUD_CREDENTIALS_URI", &url)
    }

    /// A file in the home directory that only its owner can read.
    fn with_file(self, name: &str, text: &str) -> Self {
        let path = self.typed().path("home").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self
    }

    fn with_profile(self, fields: &str) -> Self {
        let token = self.typed().path("token");
        let base = format!(r#"{{"name":"base","mode":"AK","access_key_id":"LTAI-id","access_key_secret":"{CANARY}"}}"#);
        let fields = fields.replace("TOKEN", token.to_str().unwrap()).replace("ROLE", ROLE);
        let text = format!(r#"{{"current":"p","profiles":[{base},{{"name":"p",{fields}}}]}}"#);
        self.with_file(".aliyun/config.json", &text)
    }

    fn with_ini(self, lines: &str) -> Self {
        let text = format!("[default]\n{}\n", lines.replace("ROLE", ROLE).replace("SECRET", CANARY));
        self.with_file(".alibabacloud/credentials.ini", &text)
    }

    fn client(&self) -> Sls {
        Sls::new(&self.typed().good(MINIMAL).sources[0].sls).unwrap()
    }

    /// Expects that a call succeeds, signed with the key of this provider.
    async fn works(&self, provider: &str) {
        let sls = self.client();
        sls.shards().await.unwrap_or_else(|error| panic!("{provider}: {error}"));
        let status = sls.key_status();
        let home = format!("{}/", self.typed().path("home").display());
        assert_eq!(status.provider.replace(&home, "~/"), provider);
        let left = status.valid_for.unwrap();
        assert!(left > Duration::from_secs(3500) && left <= Duration::from_secs(3600), "{left:?}");
        assert!(!format!("{sls:?}{status:?}").contains(CANARY));
    }

    /// The error when there is no key.
    async fn refused(&self) -> String {
        match self.client().sign_in().await {
            Err(SourceError::Refused(cause)) => self.plain(&cause.to_string()),
            other => panic!("{other:?}"),
        }
    }

    /// The transient error when there is no key yet.
    async fn busy(&self) -> String {
        match self.client().sign_in().await {
            Err(SourceError::Busy { cause, .. }) => self.plain(&cause.to_string()),
            other => panic!("{other:?}"),
        }
    }

    fn plain(&self, text: &str) -> String {
        assert!(!text.contains(CANARY) && !text.contains("the.oidc.token"), "{text}");
        let home = format!("{}/", self.typed().path("home").display());
        text.replace(&self.given.url(), "URL").replace(&home, "~/")
    }
}

#[tokio::test]
async fn each_provider_gives_a_key_that_signs() {
    Bench::new().await.works("ECS role demo-role").await;
    Bench::new().await.with_oidc().works(&format!("OIDC role {ROLE}")).await;
    let bench = Bench::new().await.with_uri().set("FORWARDER_SLS_METADATA_DISABLED", "true");
    let uri = format!("URI {}/credentials", bench.given.url());
    bench.works(&uri).await;
}

#[tokio::test]
async fn a_role_can_be_assumed_with_any_provider() {
    let role = |base: &str| format!("role {ROLE} assumed by {base}");
    let with_role = async || Bench::new().await.set("FORWARDER_SLS_ROLE_ARN", ROLE);
    with_role().await.with_key().works(&role("AccessKey")).await;
    with_role().await.works(&role("ECS role demo-role")).await;
    with_role().await.with_oidc().works(&role(&format!("OIDC role {ROLE}"))).await;

    let bench = with_role().await;
    let [id, secret] = [("id", "LTAI-id"), ("secret", CANARY)].map(|(name, text)| {
        fs::write(bench.typed().path(name), text).unwrap();
        bench.typed().path(name).to_str().unwrap().to_owned()
    });
    let bench = bench.set("FORWARDER_SLS_ACCESS_KEY_ID_FILE", &id).set("FORWARDER_SLS_ACCESS_KEY_SECRET_FILE", &secret);
    bench.works(&role("AccessKey files")).await;
}

#[tokio::test]
async fn each_mode_of_a_profile_gives_a_key_that_signs() {
    let check = async |fields: &str, provider: &str| {
        Bench::new().await.with_profile(fields).works(&provider.replace("ROLE", ROLE)).await;
    };
    let profile = |mode: &str, rest: &str| format!("profile p ({mode}) of ~/.aliyun/config.json: {rest}");
    check(r#""mode":"EcsRamRole","ram_role_name":"demo-role""#, &profile("EcsRamRole", "ECS role demo-role")).await;
    let oidc = format!(
        r#""mode":"OIDC","ram_role_arn":"ROLE","oidc_provider_arn":"{OIDC_PROVIDER}","oidc_token_file":"TOKEN""#
    );
    check(&oidc, &profile("OIDC", "OIDC role ROLE")).await;
    let fields = format!(
        r#""mode":"RamRoleArn","access_key_id":"LTAI-id","access_key_secret":"{CANARY}","ram_role_arn":"ROLE""#
    );
    check(&fields, &profile("RamRoleArn", "role ROLE assumed by AccessKey")).await;
    let fields = r#""mode":"ChainableRamRoleArn","source_profile":"base","ram_role_arn":"ROLE""#;
    check(fields, &profile("ChainableRamRoleArn", "role ROLE assumed by AccessKey")).await;
}

#[tokio::test]
async fn each_type_of_an_ini_section_gives_a_key_that_signs() {
    let section =
        |kind: &str, rest: &str| format!("section default ({kind}) of ~/.alibabacloud/credentials.ini: {rest}");
    let lines = "type = ecs_ram_role\nrole_name = demo-role";
    Bench::new().await.with_ini(lines).works(&section("ecs_ram_role", "ECS role demo-role")).await;
    let lines = "type = ram_role_arn\naccess_key_id = LTAI-id\naccess_key_secret = SECRET\nrole_arn = ROLE\nrole_session_name = s";
    let role = format!("role {ROLE} assumed by AccessKey");
    Bench::new().await.with_ini(lines).works(&section("ram_role_arn", &role)).await;
}

/// Providers after the first configured one in the vendor's chain are not contacted.
#[tokio::test]
async fn the_first_configured_provider_is_used_and_an_explicit_key_before_all() {
    let ini = "type = ecs_ram_role\nrole_name = demo-role";
    let profile = r#""mode":"EcsRamRole","ram_role_name":"demo-role""#;
    let bench = Bench::new().await.with_uri();
    bench.works("ECS role demo-role").await;
    let bench = bench.with_ini(ini);
    bench.works("section default (ecs_ram_role) of ~/.alibabacloud/credentials.ini: ECS role demo-role").await;
    let bench = bench.with_profile(profile);
    bench.works("profile p (EcsRamRole) of ~/.aliyun/config.json: ECS role demo-role").await;
    let bench = bench.with_oidc();
    bench.works(&format!("OIDC role {ROLE}")).await;
    assert_eq!(bench.given.counts().uri, 0);

    let pinned = bench.set("FORWARDER_SLS_CREDENTIALS", "uri");
    pinned.works(&format!("URI {}/credentials", pinned.given.url())).await;

    let bench = pinned.set("FORWARDER_SLS_CREDENTIALS", "auto").with_key();
    let settings = bench.typed().good(MINIMAL);
    assert!(matches!(&settings.sources[0].sls.credentials, Credentials::Fixed(key) if key.id == "LTAI-id"));
    let asked = bench.given.counts();
    assert_eq!(bench.client().key_status().provider, "AccessKey of the settings");
    assert_eq!(bench.given.counts(), asked);
}

#[tokio::test]
async fn without_a_provider_the_error_lists_each_one_and_why_it_did_not_apply() {
    let bench = Bench::with(credentials::Config { role: None, ..credentials::Config::default() }).await;
    assert_eq!(
        bench.refused().await,
        "no credentials are set up. Tried: \
         static: neither sls.access_key_id nor sls.access_key_id_file is given; \
         oidc: sls.oidc_role_arn (ALIBABA_CLOUD_ROLE_ARN) is not given; \
         profile: ~/.aliyun/config.json cannot be read: No such file or directory (os error 2); \
         ini: ~/.alibabacloud/credentials.ini cannot be read: No such file or directory (os error 2); \
         ecs: this instance has no RAM role; \
         uri: sls.credentials_uri (ALIBABA_CLOUD_CREDENTIALS_URI) is not given \
         (give sls.access_key_id and its secret, or set up one of these: README, \"Without a standing key\")"
    );
    let bench = bench.set("FORWARDER_SLS_METADATA_ENDPOINT", "http://127.0.0.1:1");
    let message = bench.refused().await;
    assert!(message.contains("ecs: the metadata service at http://127.0.0.1:1 cannot be reached: "), "{message}");
    let bench = bench.with_profile(r#""mode":"AK","access_key_id":"","access_key_secret":"""#);
    let message = bench.refused().await;
    assert!(
        message.contains("profile: ~/.aliyun/config.json: profile p has the mode AK but no access_key_id; ini: "),
        "{message}"
    );
}

#[tokio::test]
async fn version_1_of_the_metadata_service_is_used_only_if_allowed() {
    let bench = Bench::new().await.set("FORWARDER_SLS_CREDENTIALS", "ecs");
    bench.given.order(Order { v2: Some(false), ..Order::default() });
    assert_eq!(
        bench.refused().await,
        "the metadata service at URL gives no token (HTTP status 404) \
         (where there is only version 1, allow it: sls.metadata_v1 = true)"
    );
    let bench = bench.set("FORWARDER_SLS_METADATA_V1", "true");
    bench.works("ECS role demo-role").await;
    bench.given.order(Order { v1: Some(false), v2: Some(true), ..Order::default() });
    bench.works("ECS role demo-role").await;
}

#[tokio::test]
async fn a_refusal_names_provider_role_step_and_remedy() {
    let bench = Bench::new().await.set("FORWARDER_SLS_ROLE_ARN", ROLE);
    bench.given.order(Order {
        on: Some(On::Sts),
        fault: Some(CredentialsFault::Refuse),
        times: Some(1),
        ..Order::default()
    });
    let message = bench.refused().await;
    let begin = format!("AssumeRole of {ROLE} by ECS role demo-role refused: 403 NoPermission: You are not authorized");
    assert!(message.starts_with(&begin) && message.contains("grant sts:AssumeRole on the role"), "{message}");

    let wrong = bench.set("SLS_AK_ID", "LTAI-id").set("SLS_AK_KEY", "another-secret");
    let message = wrong.refused().await;
    let begin = format!("AssumeRole of {ROLE} by AccessKey refused: 400 SignatureDoesNotMatch (check the AccessKey");
    assert!(message.starts_with(&begin), "{message}");
    let message = wrong.set("SLS_AK_ID", "LTAI-other").refused().await;
    assert!(
        message.contains("404 InvalidAccessKeyId.NotFound") && message.contains("check the AccessKey"),
        "{message}"
    );

    let bench = Bench::new().await.with_oidc();
    fs::write(bench.typed().path("token"), "another.token").unwrap();
    let message = bench.refused().await;
    let begin = format!("AssumeRoleWithOIDC of {ROLE} refused: 400 AuthenticationFail.OIDCToken.Invalid");
    assert!(message.starts_with(&begin) && message.contains("(the token must come from the issuer"), "{message}");
    fs::remove_file(bench.typed().path("token")).unwrap();
    let message = bench.refused().await;
    assert!(message.contains("token cannot be read: No such file"), "{message}");

    let bench = Bench::new().await.set("FORWARDER_SLS_ECS_ROLE", "other");
    let message = bench.refused().await;
    assert!(message.starts_with("ECS role other: this instance has no such role (attach the role"), "{message}");

    let bench = Bench::new().await.with_profile(r#""mode":"CloudSSO""#);
    let message = bench.refused().await;
    let expected = "~/.aliyun/config.json: profile p has the mode \"CloudSSO\" (it needs a login in a browser";
    assert!(message.starts_with(expected), "{message}");
}

#[tokio::test]
async fn a_transient_error_is_retried_and_no_other_provider_is_used() {
    let bench = Bench::new().await.with_oidc();
    let status = |status, code: &str| CredentialsFault::Status { status, code: code.to_owned() };
    bench.given.order(Order { on: Some(On::Sts), fault: Some(status(503, "ServiceUnavailable")), ..Order::default() });
    assert!(bench.busy().await.contains("AssumeRoleWithOIDC of acs:ram::"));
    bench.given.order(Order {
        clear: true,
        on: Some(On::Sts),
        fault: Some(CredentialsFault::Expired),
        ..Order::default()
    });
    let message = bench.busy().await;
    assert!(message.contains("its key expired at") && message.contains("its service's clock is at"), "{message}");
    assert_eq!(bench.given.counts().metadata, 0);

    let bench = Bench::new().await.set("FORWARDER_SLS_CREDENTIALS", "ecs");
    bench.given.order(Order { fault: Some(CredentialsFault::Hang), ..Order::default() });
    let message = bench.busy().await;
    assert!(message.starts_with("the metadata service at URL cannot be reached: no answer within 1s"), "{message}");
    let gone =
        bench.set("FORWARDER_SLS_CREDENTIALS", "uri").set("ALIBABA_CLOUD_CREDENTIALS_URI", "http://127.0.0.1:1/x");
    let message = gone.busy().await;
    assert!(
        message.starts_with("URI http://127.0.0.1:1/x: ") && message.contains("check sls.credentials_uri"),
        "{message}"
    );
}

#[tokio::test]
async fn a_key_is_renewed_before_it_expires_and_a_changed_role_is_used() {
    let life = Duration::from_secs(4);
    let bench = Bench::with(credentials::Config { life, ..credentials::Config::default() }).await;
    let sls = bench.client();
    let beside = sls.beside(&Connections::default()).unwrap();
    sls.shards().await.unwrap();
    bench.given.order(Order { role: Some("other-role".to_owned()), ..Order::default() });
    let began = std::time::Instant::now();
    while sls.key_status().provider != "ECS role other-role" {
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", sls.key_status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(beside.key_status().provider, "ECS role other-role", "two clients of a source share its key");
    beside.shards().await.unwrap();
}

#[test]
fn a_wrong_setting_is_reported_with_what_to_write() {
    let error =
        |name: &str, value: &str| Typed::new().set("FORWARDER_SLS_ROLE_ARN", ROLE).set(name, value).error(MINIMAL);
    let check = |name: &str, value: &str, words: &str| {
        let message = error(name, value);
        assert!(message.contains(words), "{message}");
    };
    check("FORWARDER_SLS_ROLE_ARN", "log-reader", "acs:ram::ACCOUNT:role/NAME");
    check("FORWARDER_SLS_ROLE_DURATION", "5m", "is too short");
    check("FORWARDER_SLS_ROLE_SESSION_NAME", "a b", "2 to 64 letters");
    check("FORWARDER_SLS_STS_ENDPOINT", "sts.aliyuncs.com", "does not begin with https://");
    check("FORWARDER_SLS_STS_REGION", "cn hangzhou", "is not a region");
    check("FORWARDER_SLS_CREDENTIALS", "sso", "write one of auto, static, oidc, profile, ini, ecs, uri");
    check("FORWARDER_SLS_CREDENTIALS", "oidc", "sls.oidc_role_arn (ALIBABA_CLOUD_ROLE_ARN) is not given");
    let typed = Typed::new().unset("SLS_AK_ID").unset("SLS_AK_KEY").set("FORWARDER_SLS_CREDENTIALS", "static");
    assert!(typed.error(MINIMAL).contains("sls.access_key_id or sls.access_key_id_file is missing"));
}
