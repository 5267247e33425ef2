//! Files that are part of the program, as they are sent.
//!
//! Each is compressed once, at its first use, and named by a hash of its bytes, so that a browser that has it is answered 304.

use std::io::Write as _;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderName},
    web::{self, Bytes, ServiceConfig},
};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};

use crate::hex;

pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const CSS: &str = "text/css; charset=utf-8";
pub(super) const SCRIPT: &str = "text/javascript; charset=utf-8";
pub(super) const SVG: &str = "image/svg+xml";
/// RFC 9512.
pub(super) const YAML: &str = "application/yaml";

/// What a page may do: run its own scripts and talk to its own server, and nothing else. `connect-src` names schemes because `'self'`
/// doesn't cover WebSockets in every browser.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; \
                                 base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Bytes of the hash in an `ETag`.
const TAG_BYTES: usize = 16;

/// A file as it lies in the program.
pub(super) struct Source {
    pub path: &'static str,
    pub content_type: &'static str,
    pub bytes: &'static [u8],
}

/// A file as it is sent.
pub(super) struct File {
    pub path: &'static str,
    content_type: &'static str,
    plain: Bytes,
    pub gzip: Bytes,
    /// Both forms have one of their own, as strong tags must.
    plain_tag: String,
    gzip_tag: String,
}

impl File {
    /// Compresses and names bytes that are served at a path.
    pub fn new(path: &'static str, content_type: &'static str, plain: Bytes) -> Self {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&plain).expect("writing to memory can't fail");
        let gzip = gzip.finish().expect("writing to memory can't fail");
        let hash = hex::encode(&Sha256::digest(&plain)[..TAG_BYTES]);
        Self {
            path,
            content_type,
            plain,
            gzip: gzip.into(),
            plain_tag: format!("\"{hash}\""),
            gzip_tag: format!("\"{hash}-gzip\""),
        }
    }
}

impl From<&Source> for File {
    fn from(source: &Source) -> Self {
        Self::new(source.path, source.content_type, Bytes::from_static(source.bytes))
    }
}

/// Adds a route for each path, answered by a handler that calls [`answer`].
pub(super) fn routes<H, F>(config: &mut ServiceConfig, paths: impl IntoIterator<Item = &'static str>, file: H)
where
    H: Fn(HttpRequest) -> F + Copy + 'static,
    F: Future<Output = HttpResponse> + 'static,
{
    for path in paths {
        config.service(web::resource(path).route(web::get().to(file)).route(web::head().to(file)));
    }
}

/// Answers with the file of the request's path, or says that the browser has it.
pub(super) fn answer(files: &[File], request: &HttpRequest) -> HttpResponse {
    let Some(file) = files.iter().find(|file| file.path == request.path()) else {
        return HttpResponse::NotFound().finish();
    };
    let compressed = takes_gzip(request);
    let (tag, bytes) = if compressed { (&file.gzip_tag, &file.gzip) } else { (&file.plain_tag, &file.plain) };
    let known = text(request, header::IF_NONE_MATCH).split(',').any(|known| known.trim() == tag);
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::ETAG, tag.as_str()))
        // Asked about every time: a new program's page must not run with an old one's modules.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::VARY, "Accept-Encoding"))
        // On a 304, too: its headers replace those that the browser has kept.
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .insert_header((header::PERMISSIONS_POLICY, "camera=(), geolocation=(), microphone=()"));
    if known {
        return response.finish();
    }
    response.insert_header((header::CONTENT_TYPE, file.content_type));
    if compressed {
        response.insert_header((header::CONTENT_ENCODING, "gzip"));
    }
    response.body(bytes.clone())
}

/// Whether the client lists gzip, and not with a weight of zero.
fn takes_gzip(request: &HttpRequest) -> bool {
    text(request, header::ACCEPT_ENCODING).split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"))
            && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

fn text(request: &HttpRequest, name: HeaderName) -> &str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}
