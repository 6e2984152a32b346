//! Sections of documents, read as the whole document reads them.

mod document;

use umbra_document::check::check_value;
use umbra_document::shape::Ty;
use umbra_document::source::Source;
use umbra_document::whole::Whole;
use umbra_document::yaml::Node;
use umbra_document::{Found, Problems};

use super::{Analysis, Provider, Webhook, analysis as section, webhooks};

const DOCUMENT: Whole = Whole { noun: "rollout", bytes_max: 1 << 20 };

/// What an `analysis` section holds.
pub(crate) fn parse_analysis(text: &str) -> Result<section::Section, Problems> {
    static FORM: Ty = Ty::Object(&section::ANALYSIS);
    DOCUMENT.parse("rollout.yaml", text, |root: Node, sources: &[Source], found: &mut Found| {
        check_value(&root, &FORM, found);
        section::check(&root, sources, found);
        if found.has_errors() { None } else { section::section(Some(&root)) }
    })
}

/// What a list of `webhooks` holds.
pub(crate) fn parse_webhooks(text: &str) -> Result<Vec<Webhook>, Problems> {
    static FORM: Ty = webhooks::WEBHOOKS;
    DOCUMENT.parse("rollout.yaml", text, |root: Node, _: &[Source], found: &mut Found| {
        check_value(&root, &FORM, found);
        webhooks::check(&root, found);
        if found.has_errors() { None } else { webhooks::webhooks(Some(&root)) }
    })
}

/// The only template of a section, with these keys besides.
pub(crate) fn analysis(more: &str) -> Analysis {
    analysis_of("prometheus: {query: up}", "successCondition: 'result[0] > 0'", more)
}

/// A template with this provider.
pub(crate) fn analysis_of(provider: &str, condition: &str, more: &str) -> Analysis {
    let keys: Vec<&str> = [condition, more].into_iter().filter(|keys| !keys.is_empty()).collect();
    let keys: String = keys.iter().map(|keys| format!(", {keys}")).collect();
    let text = format!(
        "{{prometheus: {{address: 'http://127.0.0.1:9'}}, templates: [{{name: up, provider: {{{provider}}}{keys}}}]}}"
    );
    let section = parse_analysis(&text).unwrap_or_else(|wrong| panic!("{}", wrong.render(false)));
    section.analyses.into_iter().next().expect("one")
}

/// One that gives marks to one metric.
pub(crate) const KAYENTA: &str = r#"kayenta: {
  lifetime: 10m, interval: 5m, beginAfter: 1m, step: 60s,
  config: {"metrics": [{"name": "errors", "groups": ["all"], "query": {"type": "prometheus",
    "customInlineTemplate": "PromQL:sum(rate(errors{arm=\"${scope}\"}[1m]))"},
    "analysisConfigurations": {"canary": {"direction": "increase"}}}],
    "classifier": {"groupWeights": {"all": 100}}}}"#;

/// As [`KAYENTA`] has it.
pub(crate) fn kayenta_provider() -> Provider {
    analysis_of(KAYENTA, "", "").provider
}
