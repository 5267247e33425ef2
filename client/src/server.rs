//! Where the server is, and whom to trust there.

use std::{fmt, net::IpAddr, path::Path, str::FromStr, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio_tungstenite::tungstenite::http::Uri;

use crate::error::Error;

/// Address of a server: `http://HOST:PORT`, `https://HOST`, with or without a path under which a proxy has it. Without a scheme it is `http` on
/// this machine and `https` beyond.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    secure: bool,
    authority: String,
    path: String,
}

impl Server {
    /// Returns an address of its REST API.
    pub(crate) fn rest(&self, path: &str) -> String {
        format!("{}{path}", self)
    }

    /// Returns the address of its native sockets.
    pub(crate) fn socket(&self) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}{}/ws", self.authority, self.path)
    }

    /// Says whether what is sent there can be read on the way: neither encrypted nor to this machine.
    pub fn is_exposed(&self) -> bool {
        !self.secure && !is_loopback(&self.authority)
    }

    /// Returns a name for files: what belongs to one server isn't shown to another.
    pub fn file_name(&self) -> String {
        let text = format!("{}{}", self.authority, self.path);
        text.chars().map(|c| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' }).collect()
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.secure { "https" } else { "http" }, self.authority, self.path)
    }
}

impl FromStr for Server {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Server(text.to_owned());
        let (scheme, rest) = text.trim().split_once("://").map_or((None, text.trim()), |(a, b)| (Some(a), b));
        let uri: Uri = format!("http://{rest}").parse().map_err(|_| wrong())?;
        let authority = uri.authority().filter(|authority| !authority.host().is_empty()).ok_or_else(wrong)?;
        // A password would end up in titles and logs.
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(wrong());
        }
        let secure = match scheme.map(str::to_ascii_lowercase).as_deref() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            None => !is_loopback(authority.as_str()),
            Some(_) => return Err(wrong()),
        };
        Ok(Self { secure, authority: authority.to_string(), path: uri.path().trim_end_matches('/').to_owned() })
    }
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => authority,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The certificates that are trusted: the system's, and those of a file.
#[derive(Clone)]
pub struct Trust {
    pub(crate) rustls: Arc<ClientConfig>,
    pub(crate) rest: ureq::tls::TlsConfig,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

impl Trust {
    /// Trusts the system's authorities and, if there is one, those of a PEM file.
    ///
    /// # Errors
    /// When the file can't be read or holds no certificate.
    pub fn new(ca: Option<&Path>) -> Result<Self, Error> {
        // What of the system's can't be read is not trusted; a machine without any still reaches servers without TLS.
        let mut certificates = rustls_native_certs::load_native_certs().certs;
        if let Some(path) = ca {
            let wrong = |why: String| Error::Tls(format!("{}: {why}", path.display()));
            let found = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
            let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| wrong(error.to_string()))?;
            if found.is_empty() {
                return Err(wrong("holds no certificate".into()));
            }
            certificates.extend(found);
        }
        let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        let config = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let config = config.map_err(|error| Error::Tls(error.to_string()))?;
        let rustls = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let rest: Vec<_> =
            certificates.iter().map(|der| ureq::tls::Certificate::from_der(der.as_ref()).to_owned()).collect();
        let rest = ureq::tls::TlsConfig::builder()
            .root_certs(ureq::tls::RootCerts::new_with_certs(&rest))
            .unversioned_rustls_crypto_provider(provider)
            .build();
        Ok(Self { rustls, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, String)> {
        text.parse::<Server>().ok().map(|server| (server.to_string(), server.socket()))
    }

    #[test]
    fn addresses_are_read_with_and_without_scheme() {
        let both = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(parsed("http://127.0.0.1:3000"), both("http://127.0.0.1:3000", "ws://127.0.0.1:3000/ws"));
        assert_eq!(parsed("localhost:3000/"), both("http://localhost:3000", "ws://localhost:3000/ws"));
        assert_eq!(parsed("[::1]:3000"), both("http://[::1]:3000", "ws://[::1]:3000/ws"));
        assert_eq!(parsed("chat.example.org"), both("https://chat.example.org", "wss://chat.example.org/ws"));
        assert_eq!(parsed("wss://example.org/chat/"), both("https://example.org/chat", "wss://example.org/chat/ws"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "ftp://example.org", "http://", "http://ann:secret@example.org", "http://a b", "http://a/?x=1"]
        {
            let error = text.parse::<Server>().unwrap_err().to_string();
            assert!(error.contains("is no server"), "{text}: {error}");
        }
    }

    #[test]
    fn plain_text_beyond_this_machine_is_exposed() {
        let exposed = |text: &str| text.parse::<Server>().unwrap().is_exposed();
        assert!(exposed("http://192.0.2.1:3000") && exposed("http://example.org"));
        assert!(!exposed("http://127.0.0.1:1") && !exposed("http://[::1]:1") && !exposed("https://example.org"));
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Trust::new(Some(file.path())).unwrap_err().to_string();
        assert!(error.contains("holds no certificate") && error.contains(file.path().to_str().unwrap()), "{error}");
        assert!(Trust::new(Some(Path::new("/nowhere/ca.pem"))).is_err());
    }
}
