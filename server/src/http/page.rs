//! The page at `/`.
use actix_web::web::ServiceConfig;
/// Adds the routes of the page.
pub fn routes(_config: &mut ServiceConfig) {}
