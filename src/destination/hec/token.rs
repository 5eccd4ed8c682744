//! The tokens: where they come from, and how they are sent.

use std::path::PathBuf;
use std::sync::Arc;

use reqwest::header::HeaderValue;

use super::Token;
use super::config_error::ConfigError;
use super::timing::FILE_AGE;
use crate::core::named_file;
use crate::core::named_file::MAX_CREDENTIAL_BYTES;
use crate::core::reread::{FromFiles, Reread};
use crate::core::secret::{Redactor, Secret};

/// The file that the token comes from.
#[derive(Debug)]
pub(super) struct TokenFile(PathBuf);

impl FromFiles for TokenFile {
    type Content = Secret;
    type Value = Arc<UsableToken>;
    type Error = String;

    fn what(&self) -> &'static str {
        "the HEC token file"
    }

    fn read(&self) -> Result<Secret, String> {
        let text = named_file::read_trusted(&self.0, MAX_CREDENTIAL_BYTES).map_err(|error| error.to_string())?;
        Ok(Secret::new(String::from_utf8_lossy(&text).trim()))
    }

    fn make(&self, token: &Secret) -> Result<Arc<UsableToken>, String> {
        usable(token)
    }
}

/// The tokens of the settings, at least one.
///
/// # Errors
/// A token that cannot be sent, or a file that cannot be read.
pub(super) fn tokens(token: &Token) -> Result<Vec<Reread<TokenFile>>, ConfigError> {
    match token {
        Token::Fixed(token) => Ok(vec![Reread::fixed(usable(token).map_err(ConfigError::Token)?)]),
        Token::Files(paths) => {
            let file = |path: &PathBuf| {
                Reread::new(TokenFile(path.clone()), FILE_AGE)
                    .map_err(|problem| ConfigError::TokenFile { path: path.clone(), problem })
            };
            paths.iter().map(file).collect()
        }
    }
}

/// A token in the form of a header.
#[derive(Debug)]
pub(super) struct UsableToken {
    /// The `Authorization` header.
    pub(super) header: HeaderValue,
    /// Redacts the token in foreign text.
    pub(super) redactor: Redactor,
}

/// Splunk accepts any string as a token; a header allows only these characters.
fn usable(secret: &Secret) -> Result<Arc<UsableToken>, String> {
    let token = secret.expose();
    if token.is_empty() {
        return Err("it is empty".to_owned());
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it contains white space, control or non-ASCII characters".to_owned());
    }
    let mut header = HeaderValue::from_str(&format!("Splunk {token}")).expect("graphic ASCII fits a header");
    header.set_sensitive(true);
    Ok(Arc::new(UsableToken { header, redactor: Redactor::new(secret) }))
}
