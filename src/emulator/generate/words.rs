//! The vocabulary of the generated logs.

/// An API of a cloud service.
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) service: &'static str,
    pub(super) host: &'static str,
    pub(super) version: &'static str,
    pub(super) access: &'static str,
    pub(super) resource: &'static str,
    pub(super) prefix: &'static str,
    pub(super) parameter: &'static str,
}

const fn call(
    name: &'static str,
    [service, host, version]: [&'static str; 3],
    access: &'static str,
    [resource, prefix, parameter]: [&'static str; 3],
) -> Call {
    Call { name, service, host, version, access, resource, prefix, parameter }
}

const ECS: [&str; 3] = ["Ecs", "ecs", "2014-05-26"];
const RAM: [&str; 3] = ["Ram", "ram", "2015-05-01"];
const OSS: [&str; 3] = ["Oss", "oss", "2019-05-17"];
const RDS: [&str; 3] = ["Rds", "rds", "2014-08-15"];
const KMS: [&str; 3] = ["Kms", "kms", "2016-01-20"];
const INSTANCE: [&str; 3] = ["ACS::ECS::Instance", "i", "InstanceId"];
const GROUP: [&str; 3] = ["ACS::ECS::SecurityGroup", "sg", "SecurityGroupId"];
const USER: [&str; 3] = ["ACS::RAM::User", "u", "UserName"];
const BUCKET: [&str; 3] = ["ACS::OSS::Bucket", "bucket", "BucketName"];
const DATABASE: [&str; 3] = ["ACS::RDS::DBInstance", "rm", "DBInstanceId"];
const KEY: [&str; 3] = ["ACS::KMS::Key", "key", "KeyId"];

pub(super) const CALLS: &[Call] = &[
    call("DescribeInstances", ECS, "Read", INSTANCE),
    call("DescribeInstanceStatus", ECS, "Read", INSTANCE),
    call("RunInstances", ECS, "Write", INSTANCE),
    call("StopInstance", ECS, "Write", INSTANCE),
    call("AuthorizeSecurityGroup", ECS, "Write", GROUP),
    call("RevokeSecurityGroup", ECS, "Write", GROUP),
    call("CreateUser", RAM, "Write", USER),
    call("AttachPolicyToUser", RAM, "Write", USER),
    call("CreateAccessKey", RAM, "Write", USER),
    call("ListUsers", RAM, "Read", USER),
    call("PutBucketAcl", OSS, "Write", BUCKET),
    call("GetBucketInfo", OSS, "Read", BUCKET),
    call("ModifySecurityIps", RDS, "Write", DATABASE),
    call("DescribeDBInstances", RDS, "Read", DATABASE),
    call("Decrypt", KMS, "Read", KEY),
    call("ScheduleKeyDeletion", KMS, "Write", KEY),
];

pub(super) const FAILURES: &[(&str, &str)] = &[
    ("Forbidden.RAM", "User not authorized to operate on the specified resource, or this API doesn't support RAM:"),
    ("InvalidInstanceId.NotFound", "The specified resource does not exist:"),
    ("Throttling.User", "Request was denied due to user flow control:"),
    ("InvalidParameter", "The specified parameter is not valid for"),
];

pub(super) const REGIONS: &[&str] =
    &["cn-hangzhou", "cn-hangzhou", "cn-shanghai", "cn-beijing", "cn-shenzhen", "ap-southeast-1", "eu-central-1"];
pub(super) const AGENTS: &[&str] = &[
    "AlibabaCloud (Linux; amd64) Java/1.8.0_152-b187 Core/4.5.2 HTTPClient/ApacheHttpClient",
    "aliyun-cli/3.0.198 (linux; amd64) Go/1.21.5",
    "Terraform/1.6.2 terraform-provider-alicloud/1.214.0",
    "AlibabaCloud API Workbench",
    "AliyunConsole",
    "python-requests/2.31.0",
];
pub(super) const BROWSERS: &[&str] = &[
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "curl/8.5.0",
    "Prometheus/2.51.0",
];
pub(super) const PATHS: &[&str] =
    &["/product/", "/product/", "/product/", "/api/v2/orders/", "/api/v2/users/", "/static/img/", "/cart/"];
pub(super) const ROLES: &[&str] =
    &["AliyunServiceRoleForAutoScaling", "ops-admin", "ci-deployer", "security-audit", "data-reader"];
pub(super) const TEAMS: &[&str] = &["payments", "search", "platform", "data", "security", "growth"];
pub(super) const GIVEN: &[&str] = &[
    "anna", "wei", "jing", "omar", "lena", "raj", "sofia", "tom", "yuki", "ivan", "mei", "carlos", "fatima", "noah",
    "emma", "li", "hans", "olga", "paul", "zoe", "ahmed", "chen", "diego", "elif", "小明", "josé", "zoë", "björn",
];
pub(super) const FAMILY: &[&str] = &[
    "wang", "zhang", "schmidt", "garcia", "smith", "tanaka", "kumar", "ivanova", "silva", "khan", "müller", "chen",
    "rossi", "jones", "nguyen", "kim", "李", "martin",
];
