//! Text to tokens and back, by the `tokenizer.json` that comes with a model.

use std::path::Path;

use crate::errors::{Failure, Problem};
use crate::file;

/// What a `tokenizer.json` says.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// `tokenizer-unreadable`.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let inner = tokenizers::Tokenizer::from_bytes(file::read(path)?).map_err(|error| {
            Problem::error(
                "tokenizer-unreadable",
                format!("this is no tokenizer: {error}"),
            )
            .help("give the tokenizer.json of the model")
            .at(file::shown(path))
        })?;
        Ok(Self { inner })
    }

    /// The tokens of a text, with those that the tokenizer puts around it.
    ///
    /// # Errors
    /// `tokenizer-failed`.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>, Failure> {
        let encoding = self
            .inner
            .encode(text, true)
            .map_err(|error| failed(&*error))?;
        Ok(encoding.get_ids().iter().map(|&id| i64::from(id)).collect())
    }

    /// The text of tokens, without those that only a model reads.
    ///
    /// # Errors
    /// `tokenizer-failed`.
    pub fn decode(&self, tokens: &[i64]) -> Result<String, Failure> {
        let ids: Vec<u32> = tokens
            .iter()
            .filter_map(|&id| u32::try_from(id).ok())
            .collect();
        self.inner
            .decode(&ids, true)
            .map_err(|error| failed(&*error))
    }
}

fn failed(error: &(dyn std::error::Error + Send + Sync)) -> Failure {
    Problem::error("tokenizer-failed", error.to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words by spaces, one of them special.
    const WORDS: &str = r#"{
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [{"id": 3, "content": "<end>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true}],
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"?": 0, "a": 1, "packet": 2, "<end>": 3}, "unk_token": "?"}
    }"#;

    #[test]
    fn text_becomes_tokens_and_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, WORDS).expect("a file");
        let tokenizer = Tokenizer::read(&path).expect("is a tokenizer");
        assert_eq!(tokenizer.encode("a packet<end> b"), Ok(vec![1, 2, 3, 0]));
        assert_eq!(tokenizer.decode(&[1, 2, 3]), Ok("a packet".to_owned()));
        std::fs::write(&path, "{}").expect("a file");
        let failure = Tokenizer::read(&path).expect_err("is none");
        assert_eq!(failure.0[0].code, "tokenizer-unreadable");
    }
}
