//! A key that is kept up to date from files.

use std::io;
use std::path::Path;

use super::access_key::{AccessKey, KeyError};
use super::plan::KeyFiles;
use crate::core::named_file;
use crate::core::named_file::MAX_CREDENTIAL_BYTES;
use crate::core::reread::FromFiles;
use crate::core::secret::Secret;

impl FromFiles for KeyFiles {
    type Content = AccessKey;
    type Value = AccessKey;
    type Error = KeyError;

    fn what(&self) -> &'static str {
        "the credential files of SLS"
    }

    fn read(&self) -> Result<AccessKey, KeyError> {
        Ok(AccessKey {
            id: read("AccessKey ID", &self.id)?,
            secret: Secret::new(read("AccessKey secret", &self.secret)?),
            token: match &self.token {
                Some(path) => Some(Secret::new(read("STS token", path)?)),
                None => None,
            },
        })
    }

    fn make(&self, key: &AccessKey) -> Result<AccessKey, KeyError> {
        key.clone().checked()
    }
}

/// The text of a file, without surrounding white space.
fn read(what: &'static str, path: &Path) -> Result<String, KeyError> {
    let text = named_file::read_trusted(path, MAX_CREDENTIAL_BYTES)
        .and_then(|text| String::from_utf8(text).map_err(io::Error::other))
        .map_err(|source| KeyError::file(what, path, &source))?;
    Ok(text.trim().to_owned())
}
