//! The settings of the program in the demo, as environment variables.

use std::path::Path;

use super::places::{GROUP, Places};
use super::receiver::Receiver;
use crate::emulator::sls::SlsEmulator;
use crate::settings::Environment;

pub(super) const KEY_ID: &str = "demo-key-id";
/// Guards nothing: the emulator is on the loopback address and holds made-up logs.
pub(super) const KEY_SECRET: &str = "demo-key-secret";

/// The settings that a user would write.
pub(super) fn environment(
    sls: &SlsEmulator,
    places: &Places,
    receiver: &Receiver,
    script: &Path,
    letters: &Path,
) -> Environment {
    let pairs: [(&str, String); 4] = [
        ("SLS_CG", GROUP.into()),
        ("SLS_AK_ID", KEY_ID.into()),
        ("SLS_AK_KEY", KEY_SECRET.into()),
        ("FORWARDER_SLS_HEARTBEAT_INTERVAL", "5s".into()),
    ];
    let endpoint = format!("http://{}", sls.address());
    let pairs = pairs.into_iter().chain(places.environment(&endpoint)).chain(receiver.environment());
    let mut environment: Environment = pairs.map(|(name, value)| (name.to_owned(), value.into())).collect();
    environment.insert("FORWARDER_SCRIPT".into(), script.as_os_str().to_owned());
    environment.insert("FORWARDER_DEAD_LETTERS_DIR".into(), letters.as_os_str().to_owned());
    environment.insert("FORWARDER_STATE_DIR".into(), letters.join("state").into_os_string());
    environment
}
