//! A parsed HTTP request.

use bytes::Bytes;
use hyper::{HeaderMap, Method, Uri};

/// A request with its target parsed.
#[derive(Debug, Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// The first label of the host: a project's name has no dots.
    pub project: String,
    /// Path, percent-decoded.
    pub path: String,
    /// Parameters in the order sent, form-decoded.
    pub query: Vec<(String, String)>,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Request {
    /// Parses a request. Origin-form and absolute-form targets (of a proxy) are accepted; the `Host` header names the
    /// project, or the target if there is none.
    #[must_use]
    pub fn new(method: Method, target: &Uri, headers: HeaderMap, body: Bytes) -> Self {
        let host = text(&headers, "host").or_else(|| target.host().map(str::to_owned));
        let project = host.unwrap_or_default();
        let project = project.split(['.', ':']).next().unwrap_or_default().to_owned();
        let query = target.query().unwrap_or_default();
        Self {
            method,
            project,
            path: decode(target.path(), false),
            query: query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(key, value)| (decode(key, true), decode(value, true)))
                .collect(),
            headers,
            body,
        }
    }

    /// A parameter; the first of its name.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        text(&self.headers, name)
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Undoes percent-encoding, and in a form `+` for a space. An invalid escape is unchanged.
fn decode(text: &str, form: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = match (first, after) {
            (b'%', [high, low, ..]) => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        rest = match escape {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                &after[2..]
            }
            None => {
                bytes.push(if form && *first == b'+' { b' ' } else { *first });
                after
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str, host: Option<&str>) -> Request {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert("host", host.parse().unwrap());
        }
        Request::new(Method::GET, &target.parse().unwrap(), headers, Bytes::new())
    }

    #[test]
    fn the_project_is_the_first_label_of_the_host_in_either_form_of_target() {
        let check = |target, host, project: &str| {
            let request = request(target, host);
            assert_eq!((request.project.as_str(), request.path.as_str()), (project, "/logstores/l"));
        };
        check("/logstores/l", Some("p.emu.log.example"), "p");
        check("/logstores/l", Some("p.127.0.0.1:8200"), "p");
        check("http://p.emu.log.example:80/logstores/l?a=b", Some("p.emu.log.example"), "p");
        check("http://p.emu.log.example:80/logstores/l", None, "p");
        check("/logstores/l", Some("localhost:1"), "localhost");
        check("/logstores/l", None, "");
    }

    #[test]
    fn parameters_are_form_decoded() {
        let request = request("/a%20b+c?query=%2A+%7C%20x%3D1&empty=&bare&odd=%zz%4&name=%E4%BD%A0", None);
        assert_eq!(request.path, "/a b+c");
        let pairs: Vec<_> = request.query.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("query", "* | x=1"), ("empty", ""), ("bare", ""), ("odd", "%zz%4"), ("name", "你")]);
        assert_eq!(request.parameter("bare"), Some(""));
        assert_eq!(request.parameter("none"), None);
    }
}
