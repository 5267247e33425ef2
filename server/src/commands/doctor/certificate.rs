//! The TLS certificate: readable, of this key, for which names, and for how long.
//!
//! A certificate is read with a few lines of DER (X.690) instead of a library: its dates and names (RFC 5280, 4.1 and 4.2.1.6) are all
//! that is wanted, and whether it is sound is rustls's to say.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
    time::{Duration, SystemTime},
};

use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::Finding;
use crate::{config::TlsFiles, net::tls};

const DAY_S: i64 = 86_400;
/// Most authorities renew a month before the end.
const ENDS_SOON_DAYS: i64 = 21;

// Tags of DER.
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.29.17, subjectAltName.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1D, 0x11];

/// Returns when the certificate in a PEM file (the first, which is the server's own) ends, Unix seconds; `None` if it can't be read.
pub(crate) fn ends_s(file: &Path) -> Option<i64> {
    let first = CertificateDer::pem_file_iter(file).ok()?.next()?.ok()?;
    read(&first).map(|certificate| certificate.ends_s)
}

pub(super) fn check(files: &TlsFiles) -> Finding {
    let about = format!("TLS certificate {}", files.cert.display());
    if let Err(error) = tls::server_config(&files.cert, &files.key) {
        return Finding::fail(
            about,
            error.to_string(),
            "name a chain and its own key, both PEM: --tls-cert and --tls-key",
        );
    }
    let first = CertificateDer::pem_file_iter(&files.cert).ok().and_then(|mut all| all.next()?.ok());
    let Some(certificate) = first.as_deref().and_then(read) else {
        return Finding::warn(
            about,
            "works, but its dates can't be read",
            "look at them with: openssl x509 -noout -dates",
        );
    };
    let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    judge(about, &certificate, i64::try_from(now_s).unwrap_or(i64::MAX))
}

fn judge(about: String, certificate: &Certificate, now_s: i64) -> Finding {
    let names = certificate.names.join(", ");
    let days = (certificate.ends_s - now_s).div_euclid(DAY_S);
    let day = |s: i64| crate::http::iso_time(s.saturating_mul(1000)).chars().take(10).collect::<String>();
    let renew = "renew it and restart: certificates are read at the start";
    if now_s < certificate.begins_s {
        let text = format!("begins on {} only", day(certificate.begins_s));
        return Finding::fail(about, text, "set the clock, or use the certificate of today");
    }
    if now_s > certificate.ends_s {
        return Finding::fail(about, format!("ended on {}", day(certificate.ends_s)), renew);
    }
    if days < ENDS_SOON_DAYS {
        return Finding::warn(about, format!("ends in {}", super::counted(days.unsigned_abs(), "day")), renew);
    }
    if certificate.names.is_empty() {
        let advice = "clients look for theirs among the alternative names: have it made with them";
        return Finding::warn(about, "names no host", advice);
    }
    Finding::ok(about, format!("for {names}; {days} days left, matches its key"))
}

/// What is wanted of a certificate.
#[derive(Debug, PartialEq, Eq)]
struct Certificate {
    begins_s: i64,
    ends_s: i64,
    /// Hosts and addresses.
    names: Vec<String>,
}

fn read(der: &[u8]) -> Option<Certificate> {
    let mut certificate = Der(Der(der).take(SEQUENCE)?);
    let mut fields = Der(certificate.take(SEQUENCE)?);
    if fields.0.first() == Some(&VERSION) {
        fields.next()?;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        fields.next()?;
    }
    let mut validity = Der(fields.take(SEQUENCE)?);
    let (begins_s, ends_s) = (time(validity.next()?)?, time(validity.next()?)?);
    let mut names = Vec::new();
    while let Some((tag, value)) = fields.next() {
        if tag == EXTENSIONS {
            names = alternative_names(value).unwrap_or_default();
        }
    }
    Some(Certificate { begins_s, ends_s, names })
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut all = Der(Der(extensions).take(SEQUENCE)?);
    while let Some((SEQUENCE, extension)) = all.next() {
        let mut extension = Der(extension);
        if extension.take(OBJECT_ID)? != ALTERNATIVE_NAMES {
            continue;
        }
        let value = std::iter::from_fn(|| extension.next()).find(|(tag, _)| *tag == OCTET_STRING)?.1;
        let mut names = Der(Der(value).take(SEQUENCE)?);
        return Some(std::iter::from_fn(|| names.next()).filter_map(name).collect());
    }
    None
}

fn name((tag, value): (u8, &[u8])) -> Option<String> {
    match (tag, value.len()) {
        (DNS_NAME, _) if value.is_ascii() => Some(String::from_utf8_lossy(value).escape_debug().to_string()),
        (IP_ADDRESS, 4) => <[u8; 4]>::try_from(value).ok().map(|bytes| Ipv4Addr::from(bytes).to_string()),
        (IP_ADDRESS, 16) => <[u8; 16]>::try_from(value).ok().map(|bytes| Ipv6Addr::from(bytes).to_string()),
        _ => None,
    }
}

/// Reads a time as RFC 5280 has it: always in UTC, with seconds and without fractions.
fn time((tag, value): (u8, &[u8])) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME if text.len() == 12 => {
            let year: i64 = text.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        GENERALIZED_TIME if text.len() == 14 => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let pair = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day) = (pair(0)?, pair(2)?);
    (1..=12).contains(&month).then_some(())?;
    Some(days(year, month, day) * DAY_S + pair(4)? * 3600 + pair(6)? * 60 + pair(8)?)
}

/// Counts the days from 1970-01-01 to a date (proleptic Gregorian), with years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_months = (153 * month + 2) / 5;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_months + day - 719_469
}

/// What is left of a run of values, each a tag, a length and bytes.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7F => (usize::from(first), rest),
            // As many bytes of length follow; more than 4 are no certificate.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().and_then(|(tag, value)| (tag == wanted).then_some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};

    fn der(tag: u8, value: &[u8]) -> Vec<u8> {
        let length = match value.len() {
            short @ 0..=127 => vec![u8::try_from(short).unwrap()],
            long => [&[0x82][..], &u16::try_from(long).unwrap().to_be_bytes()].concat(),
        };
        [&[tag][..], &length, value].concat()
    }

    fn certificate(begins: &[u8], ends: &[u8]) -> Vec<u8> {
        let names =
            [der(DNS_NAME, b"chat.example.org"), der(IP_ADDRESS, &[10, 0, 0, 7]), der(0x81, b"mail@x")].concat();
        let extension =
            [der(OBJECT_ID, ALTERNATIVE_NAMES), der(0x01, &[0xFF]), der(OCTET_STRING, &der(SEQUENCE, &names))];
        let other = [der(OBJECT_ID, &[0x55, 0x1D, 0x0F]), der(OCTET_STRING, &[3, 2, 5, 160])];
        let extensions = der(SEQUENCE, &[der(SEQUENCE, &other.concat()), der(SEQUENCE, &extension.concat())].concat());
        let fields = [
            der(VERSION, &der(0x02, &[2])),
            der(0x02, &[1; 20]),
            der(SEQUENCE, &[]),
            der(SEQUENCE, &[0x31; 200]),
            der(SEQUENCE, &[begins, ends].concat()),
            der(SEQUENCE, &[]),
            der(SEQUENCE, &[]),
            der(EXTENSIONS, &extensions),
        ];
        der(SEQUENCE, &[der(SEQUENCE, &fields.concat()), der(SEQUENCE, &[]), der(0x03, &[0])].concat())
    }

    #[test]
    fn dates_and_names_are_read() {
        let bytes = certificate(&der(UTC_TIME, b"250101000000Z"), &der(GENERALIZED_TIME, b"20500229123456Z"));
        let read = read(&bytes).unwrap();
        assert_eq!(read.begins_s, 1_735_689_600);
        assert_eq!(read.names, ["chat.example.org", "10.0.0.7"]);
        for cut in 0..bytes.len() {
            // Cut short, it may lack its names or be unreadable, and does no harm.
            let _ = super::read(&bytes[..cut]);
        }
    }

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        for (date, expected) in
            [((1970, 1, 1), 0), ((2000, 2, 29), 11_016), ((2000, 3, 1), 11_017), ((2100, 3, 1), 47_541)]
        {
            assert_eq!(days(date.0, date.1, date.2), expected, "{date:?}");
        }
        assert_eq!(time((UTC_TIME, b"491231235959Z")), Some(2_524_607_999));
        for wrong in
            [&b"991331000000Z"[..], b"9901010000Z", b"990101000000", b"99010100000-Z", "99010100000éZ".as_bytes()]
        {
            assert_eq!(time((UTC_TIME, wrong)), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_end_is_told_before_it_comes() {
        let level = |now_s: i64| {
            let certificate = Certificate { begins_s: 0, ends_s: 100 * DAY_S, names: vec!["a".into()] };
            judge("x".into(), &certificate, now_s).level
        };
        assert_eq!(
            [level(-1), level(0), level(85 * DAY_S), level(101 * DAY_S)],
            [Level::Fail, Level::Ok, Level::Warn, Level::Fail]
        );
    }
}
