//! `/docs`: the APIs, for people and for programs: the files of `server/docs`, and the documents of `ops/protocol`, embedded.
//!
//! `ops/openapi_check.py` and `ops/protocol_check.py` hold the documents to the code.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{self, Bytes, ServiceConfig},
};

use super::embedded::{self, CSS, File, HTML, SCRIPT, Source, YAML};

macro_rules! sources {
    ($($path:literal $content_type:ident $file:literal),* $(,)?) => {
        &[$(Source { path: $path, content_type: $content_type, bytes: include_bytes!(concat!("../../../", $file)) }),*]
    };
}

/// What is sent as it is.
const SOURCES: &[Source] = sources![
    "/docs" HTML "server/docs/index.html",
    "/docs/style.css" CSS "server/docs/style.css",
    "/docs/client.js" SCRIPT "server/docs/client.js",
    "/docs/try.js" SCRIPT "server/docs/try.js",
    "/docs/openapi.yaml" YAML "ops/protocol/openapi.yaml",
    "/docs/openapi-ops.yaml" YAML "ops/protocol/openapi-ops.yaml",
    "/docs/asyncapi.yaml" YAML "ops/protocol/asyncapi.yaml",
];

/// The page around the client, whose place it marks.
const CLIENT_PATH: &str = "/docs/client";
const CLIENT_PAGE: &str = include_str!("../../docs/client.html");
const CLIENT_MARK: &str = "{{client.js}}";
const CLIENT: &str = include_str!("../../docs/client.js");

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    let page = File::new(CLIENT_PATH, HTML, Bytes::from(client_page()));
    SOURCES.iter().map(File::from).chain([page]).collect()
});

/// Adds the routes.
pub fn routes(config: &mut ServiceConfig) {
    embedded::routes(config, SOURCES.iter().map(|source| source.path).chain([CLIENT_PATH]), file);
    config.service(web::redirect("/docs/", "/docs"));
}

async fn file(request: HttpRequest) -> HttpResponse {
    embedded::answer(&FILES, &request)
}

/// Puts the very file that is served into the page that shows it.
fn client_page() -> String {
    let shown = CLIENT.trim_end().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    CLIENT_PAGE.replace(CLIENT_MARK, &shown)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use actix_web::{
        App,
        body::to_bytes,
        http::{StatusCode, header},
        test::{TestRequest, call_service, init_service},
    };

    use super::{embedded::POLICY, *};

    async fn get(path: &str) -> (StatusCode, header::HeaderMap, String) {
        let app = init_service(App::new().configure(routes)).await;
        let response = call_service(&app, TestRequest::get().uri(path).to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body()).await.unwrap_or_else(|_| panic!("a body in memory can be read"));
        (status, headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let embedded: BTreeSet<_> = SOURCES
            .iter()
            .filter(|source| source.content_type != YAML)
            .map(|source| source.path.strip_prefix("/docs/").unwrap_or("index.html"))
            .chain(["client.html"])
            .collect();
        let folder = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap();
        let names: BTreeSet<_> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(embedded, names.iter().map(String::as_str).collect());
    }

    #[test]
    fn pages_run_no_script_of_their_own_text_and_make_no_markup_of_any() {
        for source in SOURCES.iter().filter(|source| source.content_type != YAML) {
            let text = std::str::from_utf8(source.bytes).unwrap();
            for word in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=", " onclick=\""]
            {
                assert!(!text.contains(word), "{word} in {}", source.path);
            }
        }
        let page = client_page();
        assert_eq!(page.matches("<script").count(), page.matches("<script type=\"module\" src=\"/docs/").count());
    }

    #[actix_rt::test]
    async fn every_address_that_the_pages_name_is_served_with_the_policy() {
        let mut seen = BTreeSet::new();
        let mut open = vec!["/docs".to_owned()];
        while let Some(path) = open.pop() {
            let (status, headers, body) = get(&path).await;
            let told = |name| headers.get(name).map_or("", |value| value.to_str().unwrap());
            assert_eq!((status, told(header::CONTENT_SECURITY_POLICY)), (StatusCode::OK, POLICY), "{path}");
            if told(header::CONTENT_TYPE) == HTML {
                let named = body.split('"').filter(|part| part.starts_with("/docs"));
                open.extend(named.filter(|path| seen.insert((*path).to_owned())).map(str::to_owned));
            }
        }
        let served: BTreeSet<_> = FILES.iter().map(|file| file.path.to_owned()).collect();
        assert_eq!(seen, served, "what nobody finds is of no use");
    }

    #[actix_rt::test]
    async fn the_client_shown_is_the_client_served_and_has_thirty_lines() {
        let (page, script) = (get(CLIENT_PATH).await.2, get("/docs/client.js").await.2);
        let (_, rest) = page.split_once("aria-label=\"client.js\">").unwrap();
        let shown = rest.split_once("</pre>").unwrap().0;
        assert_eq!(shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"), script.trim_end());
        assert_eq!(script.lines().count(), 30);
    }

    #[actix_rt::test]
    async fn nothing_beside_the_list_is_served() {
        assert_eq!(get("/docs/").await.0, StatusCode::TEMPORARY_REDIRECT);
        for path in ["/docs/client.html", "/docs/index.html", "/docs/../Cargo.toml", "/docs/native.md"] {
            assert_eq!(get(path).await.0, StatusCode::NOT_FOUND, "{path}");
        }
    }
}
