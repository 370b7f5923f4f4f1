//! The ways in which a registry asks for an authorization: the header `WWW-Authenticate`, in each form that is legal. A
//! response may have several such headers, and a header several challenges, with quoted values or without quotes.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// The way to an authorization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AuthChallenge {
    /// A token, from the server at `realm`.
    Bearer { realm: String, service: String },
    /// The user's name and the password.
    Basic,
}

/// Returns the way that is taken: a token, if there is one, because it needs no password.
pub(super) fn preferred(headers: &HeaderMap) -> Option<AuthChallenge> {
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let mut challenges: Vec<AuthChallenge> = texts.flat_map(parse).collect();
    challenges.sort_by_key(|challenge| *challenge == AuthChallenge::Basic);
    challenges.into_iter().next()
}

/// Returns the challenges of one header. Those of other kinds are passed over.
fn parse(header: &str) -> Vec<AuthChallenge> {
    let mut all: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start_matches([' ', '\t']);
        rest = match (after.strip_prefix('='), all.last_mut()) {
            (Some(after), Some((_, parameters))) => {
                let (value, after) = value(after.trim_start_matches([' ', '\t']));
                parameters.push((word.to_ascii_lowercase(), value));
                after
            }
            (Some(after), None) => after,
            (None, _) => {
                all.push((word.to_ascii_lowercase(), Vec::new()));
                after
            }
        };
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    all.into_iter().filter_map(|(scheme, parameters)| challenge(&scheme, &parameters)).collect()
}

fn challenge(scheme: &str, parameters: &[(String, String)]) -> Option<AuthChallenge> {
    let parameter =
        |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    match scheme {
        "basic" => Some(AuthChallenge::Basic),
        "bearer" => Some(AuthChallenge::Bearer {
            realm: parameter("realm")?,
            service: parameter("service").unwrap_or_default(),
        }),
        _ => None,
    }
}

/// Splits off a value, with its quotes and escapes removed.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            letter => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: &str) -> AuthChallenge {
        AuthChallenge::Bearer { realm: realm.to_owned(), service: service.to_owned() }
    }

    fn preferred_of(headers: &[&str]) -> Option<AuthChallenge> {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(WWW_AUTHENTICATE, header.parse().unwrap());
        }
        preferred(&map)
    }

    #[test]
    fn each_legal_form_is_read() {
        let token = Some(bearer("https://auth.docker.io/token", "registry.docker.io"));
        for headers in [
            &[r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a,b""#][..],
            &["bearer service=registry.docker.io , realm=https://auth.docker.io/token"],
            &[r#"BEARER  realm = "https://auth.docker.io/token" ,, service= "registry.docker.i\o""#],
            &[r#"Basic realm="x", Bearer realm="https://auth.docker.io/token",service=registry.docker.io"#],
            &[
                "Negotiate YII=",
                r#"Basic realm="a, b", charset="UTF-8""#,
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#,
            ],
        ] {
            assert_eq!(preferred_of(headers), token, "{headers:?}");
        }
        assert_eq!(preferred_of(&[r#"Basic realm="Bearer realm=x""#]), Some(AuthChallenge::Basic));
        assert_eq!(preferred_of(&["Bearer realm=\"https://t/x"]), Some(bearer("https://t/x", "")));
        for none in [&[][..], &[""], &["Bearer"], &["Negotiate"], &["=,="], &["Bearer service=x"]] {
            assert_eq!(preferred_of(none), None, "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in "[ \\t,=\"a-zA-Z\\\\]{0,40}") {
            parse(&text);
        }
    }
}
