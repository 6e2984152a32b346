//! What a Prometheus answers, read strictly.
//!
//! ```text
//! {"status": "success", "warnings": [...],
//!  "data": {"resultType": "vector", "result": [{"metric": {...}, "value": [TIME, "VALUE"]}]}}
//! {"status": "error", "errorType": "bad_data", "error": "..."}
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::shown;
use crate::analysis::expression::Value;

/// More series are not taken.
pub const SERIES_MAX: usize = 10_000;
/// More points, of all series together, are not taken.
pub const POINTS_MAX: usize = 200_000;

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What it says.
    pub data: Data,
    /// What was wrong with it in the server's own words, escaped: then a part may be missing.
    pub warnings: Vec<String>,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// One number.
    Scalar(Sample),
    /// One number of each series.
    Vector(Vec<Series>),
    /// Numbers of each series.
    Matrix(Vec<Series>),
    /// A text.
    Text {
        /// When it was evaluated.
        at_ms: i64,
        /// The text.
        text: String,
    },
}

/// A number at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// In milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The number; it may be NaN or infinite.
    pub value: f64,
}

/// A series: at least one sample, each later than the one before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What tells it from others.
    pub labels: BTreeMap<String, String>,
    /// Its numbers.
    pub samples: Vec<Sample>,
}

/// Why bytes are no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The server says that it cannot answer.
    #[error("it refused: {words}")]
    Refused {
        /// Why, in its own words, escaped.
        words: String,
    },
    /// They are no JSON, or only a part of it.
    #[error("it is no whole JSON document")]
    NotJson,
    /// They are some other JSON.
    #[error("{what} is not as it should be")]
    Form {
        /// The part.
        what: &'static str,
    },
    /// There is too much.
    #[error("it has more than {max} {what}; aggregate more")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
}

/// Reads an answer.
///
/// # Errors
/// It is none, or says that there is none.
pub fn parse(bytes: &[u8]) -> Result<Answer, AnswerError> {
    let json: Json = serde_json::from_slice(bytes).map_err(|_| AnswerError::NotJson)?;
    match text(&json, "status", "`status`")? {
        "success" => {}
        "error" => {
            let of = |key: &str| json.get(key).and_then(Json::as_str).unwrap_or_default();
            let words = shown(&format!("{}: {}", of("errorType"), of("error")));
            return Err(AnswerError::Refused { words });
        }
        _ => return Err(AnswerError::Form { what: "`status`" }),
    }
    let data = json.get("data").ok_or(AnswerError::Form { what: "`data`" })?;
    let result = data.get("result").ok_or(AnswerError::Form { what: "`result`" })?;
    let data = match text(data, "resultType", "`resultType`")? {
        "scalar" => Data::Scalar(sample(result)?),
        "string" => string(result)?,
        "vector" => Data::Vector(all(result, |one| Ok(vec![sample(member(one, "value")?)?]))?),
        "matrix" => Data::Matrix(all(result, |one| samples(member(one, "values")?))?),
        _ => return Err(AnswerError::Form { what: "`resultType`" }),
    };
    Ok(Answer { data, warnings: warnings(&json)? })
}

fn text<'j>(json: &'j Json, key: &str, what: &'static str) -> Result<&'j str, AnswerError> {
    json.get(key).and_then(Json::as_str).ok_or(AnswerError::Form { what })
}

fn warnings(json: &Json) -> Result<Vec<String>, AnswerError> {
    const SHOWN_MAX: usize = 10;
    let wrong = AnswerError::Form { what: "`warnings`" };
    match json.get("warnings") {
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(Json::Array(warnings)) => {
            let shown = |one: &Json| one.as_str().map(shown).ok_or(wrong.clone());
            warnings.iter().take(SHOWN_MAX).map(shown).collect()
        }
        Some(_) => Err(wrong),
    }
}

/// The series of a result, the samples of each as `read` takes them.
fn all(
    result: &Json,
    read: impl Fn(&Json) -> Result<Vec<Sample>, AnswerError>,
) -> Result<Vec<Series>, AnswerError> {
    let result = result.as_array().ok_or(AnswerError::Form { what: "`result`" })?;
    if result.len() > SERIES_MAX {
        return Err(AnswerError::TooMany { what: "series", max: SERIES_MAX });
    }
    let mut points = 0;
    let mut series = Vec::with_capacity(result.len());
    for one in result {
        let samples = read(one)?;
        points += samples.len();
        if points > POINTS_MAX {
            return Err(AnswerError::TooMany { what: "points", max: POINTS_MAX });
        }
        series.push(Series { labels: labels(one)?, samples });
    }
    Ok(series)
}

/// A native histogram stands under another key, and is no number.
fn member<'j>(one: &'j Json, key: &'static str) -> Result<&'j Json, AnswerError> {
    if one.get("histogram").is_some() || one.get("histograms").is_some() {
        return Err(AnswerError::Form { what: "a value (it is a histogram, not a number)" });
    }
    one.get(key).ok_or(AnswerError::Form { what: "a value" })
}

fn labels(one: &Json) -> Result<BTreeMap<String, String>, AnswerError> {
    let wrong = AnswerError::Form { what: "`metric`" };
    let Some(Json::Object(labels)) = one.get("metric") else { return Err(wrong) };
    let pair = |(name, value): (&String, &Json)| {
        let value = value.as_str().ok_or(wrong.clone())?;
        Ok((name.clone(), value.to_owned()))
    };
    labels.iter().map(pair).collect()
}

fn samples(json: &Json) -> Result<Vec<Sample>, AnswerError> {
    let wrong = AnswerError::Form { what: "`values`" };
    let samples = json.as_array().ok_or(wrong.clone())?;
    let samples = samples.iter().map(sample).collect::<Result<Vec<_>, _>>()?;
    let ordered = samples.windows(2).all(|two| two[0].at_ms < two[1].at_ms);
    if samples.is_empty() || !ordered {
        return Err(wrong);
    }
    Ok(samples)
}

/// `[TIME, "VALUE"]`.
fn sample(json: &Json) -> Result<Sample, AnswerError> {
    let (at_ms, text) = pair(json)?;
    let value = number(text).ok_or(AnswerError::Form { what: "a number" })?;
    Ok(Sample { at_ms, value })
}

fn string(json: &Json) -> Result<Data, AnswerError> {
    let (at_ms, text) = pair(json)?;
    Ok(Data::Text { at_ms, text: text.to_owned() })
}

fn pair(json: &Json) -> Result<(i64, &str), AnswerError> {
    let Some([time, value]) = json.as_array().map(Vec::as_slice) else {
        return Err(AnswerError::Form { what: "a sample" });
    };
    let seconds = time.as_f64().ok_or(AnswerError::Form { what: "a time" })?;
    let value = value.as_str().ok_or(AnswerError::Form { what: "a value" })?;
    // Far beyond any year that means something, and a float still tells milliseconds apart.
    if seconds.abs() > 1e12 {
        return Err(AnswerError::Form { what: "a time" });
    }
    Ok(((seconds * 1000.0).round() as i64, value))
}

/// As Prometheus writes them: decimal, `NaN`, `+Inf`, `-Inf`.
fn number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ if text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) => text.parse().ok(),
        _ => None,
    }
}

impl Answer {
    /// What conditions are about, as Argo has it: a number for a scalar, the numbers of all
    /// series for a vector, all numbers of all series for a matrix.
    pub fn value(&self) -> Value {
        match &self.data {
            Data::Scalar(sample) => Value::Number(sample.value),
            Data::Vector(series) | Data::Matrix(series) => {
                let samples = series.iter().flat_map(|series| &series.samples);
                Value::List(samples.map(|sample| Value::Number(sample.value)).collect())
            }
            Data::Text { text, .. } => Value::Text(text.clone()),
        }
    }

    /// The time of what is newest in it; `None` where there is nothing.
    pub fn newest_ms(&self) -> Option<i64> {
        match &self.data {
            Data::Scalar(sample) => Some(sample.at_ms),
            Data::Vector(series) | Data::Matrix(series) => {
                let last = |series: &Series| series.samples.last().map(|sample| sample.at_ms);
                series.iter().filter_map(last).max()
            }
            Data::Text { at_ms, .. } => Some(*at_ms),
        }
    }
}
