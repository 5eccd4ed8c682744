//! Whether the environment disables all proxies.

/// Whether `NO_PROXY` (or `no_proxy`) contains `*`: no host is reached through a proxy. The HTTP library applies `*`
/// to host names, but not to IP addresses.
#[must_use]
pub fn is_for_all() -> bool {
    let list = ["NO_PROXY", "no_proxy"].into_iter().find_map(|name| std::env::var(name).ok());
    list.is_some_and(|list| covers_all(&list))
}

fn covers_all(list: &str) -> bool {
    list.split(',').any(|entry| entry.trim() == "*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lone_star_covers_all_hosts() {
        for list in ["*", " * ", "10.0.0.1,*", "*,splunk.example"] {
            assert!(covers_all(list), "{list}");
        }
        for list in ["", "*.example", "10.*", "splunk.example,10.0.0.0/8"] {
            assert!(!covers_all(list), "{list}");
        }
    }
}
