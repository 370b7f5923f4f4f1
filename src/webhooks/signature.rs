//! Signatures as the Standard Webhooks specification 1.0.0 describes them, symmetric ones.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The prefix of a secret.
const PREFIX: &str = "whsec_";

/// The bytes that a secret may have.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The secret that a hook's receiver knows too. Its `Debug` form does not show it.
#[derive(Clone)]
pub(crate) struct SigningSecret(hmac::Key);

impl SigningSecret {
    /// Reads a secret: `whsec_`, and 24 to 64 bytes in base64. The error does not show it.
    ///
    /// # Errors
    /// If the text is none.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let expected = "its secret is no whsec_ with 24 to 64 bytes in base64; make one with: \
            echo whsec_$(openssl rand -base64 32)";
        let bytes = text.strip_prefix(PREFIX).and_then(|base64| STANDARD.decode(base64).ok());
        match bytes.filter(|bytes| BYTES.contains(&bytes.len())) {
            Some(bytes) => Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes))),
            None => Err(expected),
        }
    }

    /// Returns the header `webhook-signature` of a message. `timestamp` is the moment of the try, in seconds.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_other_implementations() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        // Computed with Python's `hmac`.
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(format!("{secret:?}"), "SigningSecret(…)");
    }

    #[test]
    fn a_secret_has_its_prefix_and_length() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for (secret, is_taken) in [(of(23), false), (of(24), true), (of(64), true), (of(65), false)] {
            assert_eq!(SigningSecret::parse(&secret).is_ok(), is_taken, "{secret}");
        }
        for secret in ["", "whsec_", "whsec_%%%", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert!(SigningSecret::parse(secret).is_err(), "{secret}");
        }
    }
}
