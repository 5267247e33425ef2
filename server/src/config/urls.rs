//! Addresses of services as URLs, with passwords that nobody may see.

use std::fmt;

use super::Hidden;

/// What stands for a secret wherever settings are shown.
pub const MASK: &str = "********";

/// A URL with a password in it, and how it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUrl {
    url: Hidden,
    shown: String,
}

impl ServiceUrl {
    /// Takes a URL; a `password` is put into it.
    ///
    /// # Errors
    /// When the URL has a password already.
    pub fn new(url: &str, password: Option<&Hidden>) -> Result<Self, String> {
        let url = match password {
            Some(password) => with_password(url, password.reveal())?,
            None => url.to_owned(),
        };
        Ok(Self { shown: masked(&url), url: Hidden::new(url) })
    }

    /// Returns the URL with its password, for use only.
    pub fn reveal(&self) -> &str {
        self.url.reveal()
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// A URL in parts: `scheme://user:password@rest`. The last `@` counts, so that one inside a password that should have been written as
/// `%40` hides more rather than less.
struct Parts<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    password: Option<&'a str>,
    rest: &'a str,
}

fn split(url: &str) -> Option<Parts<'_>> {
    let (scheme, after) = url.split_once("://")?;
    let Some((info, rest)) = after.rsplit_once('@') else {
        return Some(Parts { scheme, user: None, password: None, rest: after });
    };
    Some(match info.split_once(':') {
        Some((user, password)) => Parts { scheme, user: Some(user), password: Some(password), rest },
        None => Parts { scheme, user: Some(info), password: None, rest },
    })
}

/// Says whether a URL has a password in it (or isn't one, and might).
pub fn has_password(url: &str) -> bool {
    masked(url).contains(MASK)
}

/// Writes a URL without its password, wherever in it that is. What isn't a URL is hidden altogether.
pub fn masked(url: &str) -> String {
    let Some(Parts { scheme, user, password, rest }) = split(url) else { return MASK.to_owned() };
    let user = match (user, password) {
        (Some(user), Some(_)) => format!("{user}:{MASK}@"),
        (Some(user), None) => format!("{user}@"),
        (None, _) => String::new(),
    };
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| match pair.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    });
    let query = pairs.collect::<Vec<_>>().join("&");
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{scheme}://{user}{address}{mark}{query}")
}

fn with_password(url: &str, password: &str) -> Result<String, String> {
    let Some(Parts { scheme, user, password: None, rest }) = split(url).filter(|_| !has_password(url)) else {
        return Err("has a password in it already; a second one contradicts it".to_owned());
    };
    Ok(format!("{scheme}://{}:{}@{rest}", user.unwrap_or_default(), percent_encoded(password)))
}

/// Writes a text so that it may stand in a URL: all but letters, digits and `-._~` as `%XX` (RFC 3986, 2.3).
fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown_wherever_it_stands() {
        for (url, shown) in [
            ("postgres://ann:s3cret@db:5432/chat", "postgres://ann:********@db:5432/chat"),
            ("postgres://ann:s3cret@x@db/chat?sslmode=require", "postgres://ann:********@db/chat?sslmode=require"),
            ("postgres://ann:s3cret/s3cret?@db/chat", "postgres://ann:********@db/chat"),
            ("postgres://ann@db/chat?password=s3cret&a=b", "postgres://ann@db/chat?password=********&a=b"),
            ("redis://:s3cret@cache:6379/1", "redis://:********@cache:6379/1"),
            ("redis://cache:6379", "redis://cache:6379"),
            ("host=db password=s3cret", "********"),
        ] {
            assert_eq!(masked(url), shown);
            assert_eq!(has_password(url), url.contains("s3cret"));
        }
        let url = ServiceUrl::new("redis://:s3cret@cache", None).unwrap();
        assert!(!format!("{url} {url:?}").contains("s3cret"));
        assert_eq!(url.reveal(), "redis://:s3cret@cache");
    }

    #[test]
    fn a_password_from_elsewhere_is_put_into_the_url_and_only_one_is_allowed() {
        let with = |url| ServiceUrl::new(url, Some(&Hidden::new("p@ß/?"))).map(|url| url.reveal().to_owned());
        assert_eq!(with("postgres://ann@db/chat").unwrap(), "postgres://ann:p%40%C3%9F%2F%3F@db/chat");
        assert_eq!(with("redis://cache:6379").unwrap(), "redis://:p%40%C3%9F%2F%3F@cache:6379");
        assert!(with("postgres://ann:other@db/chat").is_err());
        assert!(with("postgres://ann@db/chat?password=other").is_err());
    }
}
