//! A file's shapes, as far as they are read or written.

use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
pub(super) struct Har {
    pub(super) log: Log,
}

#[derive(Deserialize)]
pub(super) struct Log {
    #[serde(default)]
    pub(super) creator: Creator,
    pub(super) entries: Vec<Entry>,
}

#[derive(Deserialize, Default)]
pub(super) struct Creator {
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) started_date_time: String,
    #[serde(default)]
    pub(super) time: f64,
    pub(super) request: Request,
    pub(super) response: Response,
    #[serde(default)]
    pub(super) cache: Nothing,
    #[serde(default)]
    pub(super) timings: Timings,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) connection: Option<String>,
}

/// An object that says nothing.
#[derive(Serialize, Deserialize, Default)]
pub(super) struct Nothing {}

#[derive(Serialize, Deserialize, Default)]
pub(super) struct Timings {
    #[serde(default = "none")]
    pub(super) blocked: f64,
    #[serde(default = "none")]
    pub(super) dns: f64,
    #[serde(default = "none")]
    pub(super) connect: f64,
    #[serde(default)]
    pub(super) send: f64,
    #[serde(default)]
    pub(super) wait: f64,
    #[serde(default)]
    pub(super) receive: f64,
}

/// What HAR writes where there was no such time.
fn none() -> f64 {
    -1.0
}

#[derive(Serialize, Deserialize)]
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) url: String,
    #[serde(default)]
    pub(super) http_version: String,
    #[serde(default)]
    pub(super) cookies: Vec<Nothing>,
    #[serde(default)]
    pub(super) headers: Vec<Pair>,
    #[serde(default)]
    pub(super) query_string: Vec<Pair>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) post_data: Option<Content>,
    #[serde(default = "none")]
    pub(super) headers_size: f64,
    #[serde(default)]
    pub(super) body_size: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response {
    pub(super) status: i64,
    #[serde(default)]
    pub(super) status_text: String,
    #[serde(default)]
    pub(super) http_version: String,
    #[serde(default)]
    pub(super) cookies: Vec<Nothing>,
    #[serde(default)]
    pub(super) headers: Vec<Pair>,
    #[serde(default)]
    pub(super) content: Content,
    #[serde(default, rename = "redirectURL")]
    pub(super) redirect_url: String,
    #[serde(default = "none")]
    pub(super) headers_size: f64,
    #[serde(default)]
    pub(super) body_size: f64,
}

/// A body. That of a request has an encoding with us only.
#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Content {
    #[serde(default)]
    pub(super) mime_type: String,
    #[serde(default)]
    pub(super) size: f64,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) encoding: Option<String>,
    #[serde(default, skip_serializing)]
    pub(super) params: Vec<Param>,
    #[serde(default, rename = "_cut", skip_serializing_if = "std::ops::Not::not")]
    pub(super) cut: bool,
}

#[derive(Deserialize)]
pub(super) struct Param {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) value: String,
}
