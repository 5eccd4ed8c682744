//! Serializes a version of a script, to store it and read it again.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{Files, Script};

/// A script with the files that it names, as JSON: `{"name": …, "text": …, "files": {…}}`. Bytes are base64.
#[derive(Serialize, Deserialize)]
struct Kept {
    name: String,
    text: String,
    files: BTreeMap<String, KeptFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeptFile {
    Content(String),
    /// The reason why it could not be read.
    Missing(String),
}

impl Script {
    /// The version with all its parts.
    #[must_use]
    pub fn to_kept(&self) -> Vec<u8> {
        let file = |content: Result<&[u8], &str>| match content {
            Ok(content) => KeptFile::Content(STANDARD.encode(content)),
            Err(why) => KeptFile::Missing(why.to_owned()),
        };
        let files = self.files.all().map(|(name, content)| (name.to_owned(), file(content))).collect();
        let kept = Kept { name: self.name.clone(), text: STANDARD.encode(&self.text), files };
        serde_json::to_vec(&kept).expect("every key is a string, and writing to a Vec cannot fail")
    }

    /// Reads a version written by [`Script::to_kept`]; `None` for any other data.
    #[must_use]
    pub fn from_kept(kept: &[u8]) -> Option<Self> {
        let kept: Kept = serde_json::from_slice(kept).ok()?;
        let mut files = BTreeMap::new();
        for (name, file) in kept.files {
            let content = match file {
                KeptFile::Content(content) => Ok(STANDARD.decode(content).ok()?.into()),
                KeptFile::Missing(why) => Err(why),
            };
            files.insert(name, content);
        }
        Some(Self::new(&kept.name, STANDARD.decode(kept.text).ok()?, Files::of(files)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_kept_version_is_the_same_version_when_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.lua");
        fs::write(&path, b"local m = require 'm'\nrequire 'gone'\n-- \xff").unwrap();
        fs::write(directory.path().join("m.lua"), b"return {'\xfe'}").unwrap();
        let script = Script::read(&path).unwrap();
        assert_eq!(Script::from_kept(&script.to_kept()).unwrap(), script);
    }

    #[test]
    fn damaged_content_is_not_read_as_a_kept_version() {
        for text in ["", "{}", r#"{"name": "a", "text": "!", "files": {}}"#] {
            assert!(Script::from_kept(text.as_bytes()).is_none(), "{text}");
        }
    }
}
