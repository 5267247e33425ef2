//! The page at `/`: the files of `server/web`, embedded.
//!
//! The first screen needs few of them; the others are loaded when it is drawn (`web/app.js`). How they are sent: `embedded.rs`.

use std::sync::LazyLock;

use actix_web::{HttpRequest, HttpResponse, web::ServiceConfig};

use super::embedded::{self, CSS, File, HTML, SCRIPT, SVG, Source};

macro_rules! sources {
    ($($path:literal $content_type:ident $file:literal),* $(,)?) => {
        &[$(Source { path: $path, content_type: $content_type, bytes: include_bytes!(concat!("../../web/", $file)) }),*]
    };
}

/// Every file of the page.
const SOURCES: &[Source] = sources![
    "/" HTML "index.html",
    "/web/app.js" SCRIPT "app.js",
    "/web/chat.js" SCRIPT "chat.js",
    "/web/connection.js" SCRIPT "connection.js",
    "/web/conversation.js" SCRIPT "conversation.js",
    "/web/conversations.js" SCRIPT "conversations.js",
    "/web/dom.js" SCRIPT "dom.js",
    "/web/emoji.js" SCRIPT "emoji.js",
    "/web/errors.js" SCRIPT "errors.js",
    "/web/events.js" SCRIPT "events.js",
    "/web/excerpt.js" SCRIPT "excerpt.js",
    "/web/i18n.js" SCRIPT "i18n.js",
    "/web/icon.svg" SVG "icon.svg",
    "/web/ids.js" SCRIPT "ids.js",
    "/web/items.js" SCRIPT "items.js",
    "/web/keys.js" SCRIPT "keys.js",
    "/web/link.js" SCRIPT "link.js",
    "/web/listening.js" SCRIPT "listening.js",
    "/web/log.js" SCRIPT "log.js",
    "/web/logs.js" SCRIPT "logs.js",
    "/web/markup.js" SCRIPT "markup.js",
    "/web/messages/ar.js" SCRIPT "messages/ar.js",
    "/web/messages/de.js" SCRIPT "messages/de.js",
    "/web/messages/en.js" SCRIPT "messages/en.js",
    "/web/names.js" SCRIPT "names.js",
    "/web/notify.js" SCRIPT "notify.js",
    "/web/outbox.js" SCRIPT "outbox.js",
    "/web/protocol.js" SCRIPT "protocol.js",
    "/web/receipts.js" SCRIPT "receipts.js",
    "/web/reconnect.js" SCRIPT "reconnect.js",
    "/web/rest.js" SCRIPT "rest.js",
    "/web/resume.js" SCRIPT "resume.js",
    "/web/route.js" SCRIPT "route.js",
    "/web/sender.js" SCRIPT "sender.js",
    "/web/settings.js" SCRIPT "settings.js",
    "/web/shelf.js" SCRIPT "shelf.js",
    "/web/status.js" SCRIPT "status.js",
    "/web/style.css" CSS "style.css",
    "/web/tabs.js" SCRIPT "tabs.js",
    "/web/view-composer.js" SCRIPT "view-composer.js",
    "/web/view-dialogs.js" SCRIPT "view-dialogs.js",
    "/web/view-entry.js" SCRIPT "view-entry.js",
    "/web/view-list.js" SCRIPT "view-list.js",
    "/web/view-log.js" SCRIPT "view-log.js",
    "/web/view-message.js" SCRIPT "view-message.js",
    "/web/view-settings.js" SCRIPT "view-settings.js",
    "/web/view-thread.js" SCRIPT "view-thread.js",
    "/web/written.js" SCRIPT "written.js",
];

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| SOURCES.iter().map(File::from).collect());

/// Adds the routes of the page.
pub fn routes(config: &mut ServiceConfig) {
    embedded::routes(config, SOURCES.iter().map(|source| source.path), file);
}

async fn file(request: HttpRequest) -> HttpResponse {
    embedded::answer(&FILES, &request)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, io::Read as _, path::Path};

    use actix_web::{
        App,
        body::to_bytes,
        http::{
            StatusCode,
            header::{self, HeaderName},
        },
        test::{TestRequest, call_service, init_service},
        web::Bytes,
    };
    use flate2::read::GzDecoder;

    use super::{embedded::POLICY, *};

    /// What is loaded before anything is drawn, compressed, in bytes.
    const FIRST_PAINT_MAX: usize = 50 * 1024;
    /// The whole page with all its languages, compressed, in bytes.
    const PAGE_MAX: usize = 110 * 1024;
    /// Loaded by who chooses the language, and by nobody else.
    const LANGUAGES: [&str; 2] = ["messages/ar.js", "messages/de.js"];

    /// Addresses of the files that the page names, before its script runs and afterwards.
    fn named() -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
        let html = std::str::from_utf8(SOURCES[0].bytes).unwrap();
        let (first, rest) = html.split_once("<template id=\"later\">").unwrap();
        let (later, body) = rest.split_once("</template>").unwrap();
        let addresses = |html: &'static str| html.split('"').filter(|part| part.starts_with("/web/"));
        (addresses(first).chain(addresses(body)).chain(["/"]).collect(), addresses(later).collect())
    }

    /// What the modules import at once, the ones in braces of a type comment aside.
    fn imports(source: &Source) -> Vec<String> {
        let text = std::str::from_utf8(source.bytes).unwrap();
        let folder = source.path.rsplit_once('/').unwrap().0;
        let names = text.lines().filter(|line| line.starts_with("import ")).filter_map(|line| line.split('"').nth(1));
        names.map(|name| format!("{folder}/{}", name.trim_start_matches("./"))).collect()
    }

    async fn get(path: &str, headers: &[(HeaderName, &str)]) -> HttpResponse<Bytes> {
        let app = init_service(App::new().configure(routes)).await;
        let mut request = TestRequest::get().uri(path);
        for header in headers {
            request = request.insert_header((header.0.clone(), header.1));
        }
        let (_, response) = call_service(&app, request.to_request()).await.into_parts();
        let (response, body) = response.into_parts();
        response.set_body(to_bytes(body).await.unwrap_or_else(|_| panic!("a body in memory can be read")))
    }

    fn header_of(response: &HttpResponse<Bytes>, name: HeaderName) -> &str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[test]
    fn every_file_of_the_page_is_embedded_and_named_where_it_is_wanted() {
        let embedded: BTreeSet<_> = SOURCES.iter().map(|source| source.path.trim_start_matches("/web/")).collect();
        let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let mut names = BTreeSet::new();
        for folder in ["", "messages/"] {
            for entry in std::fs::read_dir(web.join(folder)).unwrap().map(|entry| entry.unwrap()) {
                let name = format!("{folder}{}", entry.file_name().into_string().unwrap());
                if entry.file_type().unwrap().is_file() && !matches!(&*name, "package.json" | "tsconfig.json") {
                    names.insert(if name == "index.html" { "/".into() } else { name });
                }
            }
        }
        assert_eq!(embedded, names.iter().map(String::as_str).collect());
        let (first, later) = named();
        for source in SOURCES {
            let wanted = LANGUAGES.iter().all(|name| source.path != format!("/web/{name}"));
            assert_eq!(first.contains(source.path) || later.contains(source.path), wanted, "{}", source.path);
            // Else the first screen would wait for what nobody foresaw.
            for import in imports(source) {
                assert!(!first.contains(source.path) || first.contains(&*import), "{} imports {import}", source.path);
            }
        }
    }

    #[test]
    fn the_page_is_small_and_its_first_screen_smaller() {
        let first = named().0;
        let first: usize = FILES.iter().filter(|file| first.contains(file.path)).map(|file| file.gzip.len()).sum();
        assert!(first < FIRST_PAINT_MAX, "{first}");
        let whole: usize = FILES.iter().map(|file| file.gzip.len()).sum();
        assert!(whole < PAGE_MAX, "{whole}");
    }

    #[test]
    fn no_text_becomes_markup() {
        for source in SOURCES {
            let text = std::str::from_utf8(source.bytes).unwrap();
            for word in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=", " onclick=\""]
            {
                assert!(!text.contains(word), "{} in {}", word, source.path);
            }
        }
    }

    #[actix_rt::test]
    async fn the_page_comes_with_its_policy_compressed_or_not() {
        let plain = get("/", &[]).await;
        assert_eq!((plain.status(), header_of(&plain, header::CONTENT_TYPE)), (StatusCode::OK, HTML));
        assert_eq!(header_of(&plain, header::CONTENT_SECURITY_POLICY), POLICY);
        assert_eq!(header_of(&plain, header::CACHE_CONTROL), "no-cache");
        assert_eq!((header_of(&plain, header::CONTENT_ENCODING), &plain.body()[..]), ("", SOURCES[0].bytes));

        let packed = get("/", &[(header::ACCEPT_ENCODING, "br, gzip;q=0.8")]).await;
        assert_eq!(header_of(&packed, header::CONTENT_ENCODING), "gzip");
        assert_ne!(header_of(&packed, header::ETAG), header_of(&plain, header::ETAG));
        let mut unpacked = Vec::new();
        GzDecoder::new(&packed.body()[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, SOURCES[0].bytes);

        let refused = get("/", &[(header::ACCEPT_ENCODING, "gzip;q=0")]).await;
        assert_eq!(header_of(&refused, header::CONTENT_ENCODING), "");
    }

    #[actix_rt::test]
    async fn a_browser_that_has_a_file_gets_no_second_copy() {
        let first = get("/web/app.js", &[]).await;
        assert_eq!(header_of(&first, header::CONTENT_TYPE), SCRIPT);
        let tag = header_of(&first, header::ETAG).to_owned();
        let again = get("/web/app.js", &[(header::IF_NONE_MATCH, &format!("\"other\", {tag}"))]).await;
        assert_eq!((again.status(), again.body().len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(
            header_of(&again, header::CONTENT_SECURITY_POLICY),
            POLICY,
            "or the page kept would lose its rights"
        );
        let packed = get("/web/app.js", &[(header::IF_NONE_MATCH, &tag), (header::ACCEPT_ENCODING, "gzip")]).await;
        assert_eq!(packed.status(), StatusCode::OK, "the other form has another tag");
    }

    #[actix_rt::test]
    async fn nothing_beside_the_list_is_served() {
        for path in ["/web/", "/web/package.json", "/web/../Cargo.toml", "/web/%2e%2e/Cargo.toml", "/index.html"] {
            assert_eq!(get(path, &[]).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
