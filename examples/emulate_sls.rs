//! Runs the SLS emulator: `emulate_sls [PORT] [ACCESS_KEY_ID ACCESS_KEY_SECRET]`. Prints the address, ends with stdin.

use forwarder::emulator::sls::{Config, SlsEmulator};
use forwarder::secret::Secret;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port = arguments.first().and_then(|port| port.parse().ok()).unwrap_or(0);
    let keys = match &arguments[..] {
        [_, id, secret] => Some((id.clone(), Secret::new(secret))),
        _ => None,
    };
    let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
    let emulator = SlsEmulator::start(Config { address, keys, ..Config::default() }).await?;
    println!("{}", emulator.address());
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    emulator.stop().await;
    Ok(())
}
