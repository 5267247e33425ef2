//! The operators' page at `/console`: the files of `server/console`, embedded.
//!
//! They are served to anyone who reaches the operations listener: there is no secret in them, and without them nobody could be asked for
//! the token. What they show comes from `/admin/…`, which is for operators only.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderName},
    web::{self, Bytes, ServiceConfig},
};
use sha2::{Digest as _, Sha256};

use crate::hex;

/// The page runs its own scripts and asks its own server, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Bytes of the hash in an `ETag`.
const TAG_BYTES: usize = 16;

struct Source {
    path: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! sources {
    ($($path:literal $content_type:literal $file:literal),* $(,)?) => {
        &[$(Source { path: $path, content_type: $content_type, bytes: include_bytes!(concat!("../../console/", $file)) }),*]
    };
}

/// Every file of the page.
const SOURCES: &[Source] = sources![
    "/console" "text/html; charset=utf-8" "index.html",
    "/console/style.css" "text/css; charset=utf-8" "style.css",
    "/console/app.js" "text/javascript; charset=utf-8" "app.js",
    "/console/api.js" "text/javascript; charset=utf-8" "api.js",
    "/console/dom.js" "text/javascript; charset=utf-8" "dom.js",
    "/console/format.js" "text/javascript; charset=utf-8" "format.js",
    "/console/chart.js" "text/javascript; charset=utf-8" "chart.js",
    "/console/table.js" "text/javascript; charset=utf-8" "table.js",
    "/console/view-overview.js" "text/javascript; charset=utf-8" "view-overview.js",
    "/console/view-actors.js" "text/javascript; charset=utf-8" "view-actors.js",
    "/console/view-conversations.js" "text/javascript; charset=utf-8" "view-conversations.js",
    "/console/view-sockets.js" "text/javascript; charset=utf-8" "view-sockets.js",
    "/console/view-actions.js" "text/javascript; charset=utf-8" "view-actions.js",
    "/console/icon.svg" "image/svg+xml" "icon.svg",
];

static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let tag = |source: &Source| format!("\"{}\"", hex::encode(&Sha256::digest(source.bytes)[..TAG_BYTES]));
    SOURCES.iter().map(tag).collect()
});

/// Adds the routes of the page. Before those for operators only.
pub(super) fn routes(config: &mut ServiceConfig) {
    for source in SOURCES {
        config.service(web::resource(source.path).route(web::get().to(file)).route(web::head().to(file)));
    }
    config.service(web::redirect("/console/", "/console"));
}

async fn file(request: HttpRequest) -> HttpResponse {
    let Some((source, tag)) = SOURCES.iter().zip(&*TAGS).find(|(source, _)| source.path == request.path()) else {
        return HttpResponse::NotFound().finish();
    };
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or("");
    let known = known.split(',').any(|one| one.trim() == tag);
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::ETAG, tag.as_str()))
        // Asked about every time: a new program's page must not run with an old one's modules.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .insert_header((header::PERMISSIONS_POLICY, "camera=(), geolocation=(), microphone=()"));
    if known {
        return response.finish();
    }
    response.insert_header((header::CONTENT_TYPE, source.content_type)).body(Bytes::from_static(source.bytes))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    #[test]
    fn every_file_of_the_console_is_embedded_and_makes_no_markup_of_text() {
        let embedded: BTreeSet<_> =
            SOURCES.iter().map(|source| source.path.strip_prefix("/console/").unwrap_or("index.html")).collect();
        let folder = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("console")).unwrap();
        let names: BTreeSet<_> = folder
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "package.json")
            .collect();
        assert_eq!(embedded, names.iter().map(String::as_str).collect());
        for source in SOURCES {
            let text = std::str::from_utf8(source.bytes).unwrap();
            for word in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=", " onclick=\""]
            {
                assert!(!text.contains(word), "{word} in {}", source.path);
            }
        }
    }
}
