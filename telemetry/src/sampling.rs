//! Which traces are kept.

use opentelemetry::trace::{Link, SpanKind, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};
use serde::Deserialize;

/// How it is decided, by the names that OpenTelemetry gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// As the caller decided; of traces that begin here a part.
    #[default]
    #[serde(rename = "parentbased_traceidratio")]
    ParentOrRatio,
    /// As the caller decided; of traces that begin here all.
    #[serde(rename = "parentbased_always_on")]
    ParentOrAll,
    /// As the caller decided; of traces that begin here none.
    #[serde(rename = "parentbased_always_off")]
    ParentOrNone,
    /// A part, whatever the caller decided.
    #[serde(rename = "traceidratio")]
    Ratio,
    /// All.
    #[serde(rename = "always_on")]
    All,
    /// None.
    #[serde(rename = "always_off")]
    None,
}

/// Decides about each span where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    sampler: Sampler,
    heeds_others: bool,
}

impl Decision {
    pub(crate) fn new(sampling: Sampling, ratio: f64) -> Self {
        let based = |root: Sampler| Sampler::ParentBased(Box::new(root));
        let (sampler, heeds_others) = match sampling {
            Sampling::ParentOrRatio => (based(Sampler::TraceIdRatioBased(ratio)), true),
            Sampling::ParentOrAll => (based(Sampler::AlwaysOn), true),
            Sampling::ParentOrNone => (based(Sampler::AlwaysOff), true),
            Sampling::Ratio => (Sampler::TraceIdRatioBased(ratio), false),
            Sampling::All => (Sampler::AlwaysOn, false),
            Sampling::None => (Sampler::AlwaysOff, false),
        };
        Self {
            sampler,
            heeds_others,
        }
    }
}

impl ShouldSample for Decision {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let mut result = self
            .sampler
            .should_sample(parent, trace_id, name, kind, attributes, links);
        // A batch begins a trace of its own. It is kept when one of its records is in a trace that is kept: a link that
        // leads nowhere would end the way of that record.
        if self.heeds_others && links.iter().any(|link| link.span_context.is_sampled()) {
            result.decision = SamplingDecision::RecordAndSample;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceState};

    use super::*;

    fn context(flags: TraceFlags) -> SpanContext {
        SpanContext::new(
            TraceId::from(7),
            SpanId::from(7),
            flags,
            true,
            TraceState::default(),
        )
    }

    fn keeps(sampling: Sampling, ratio: f64, parent: Option<TraceFlags>, link: Option<TraceFlags>) -> bool {
        let parent = parent.map(|flags| Context::new().with_remote_span_context(context(flags)));
        let links: Vec<Link> = link
            .map(|flags| Link::new(context(flags), Vec::new(), 0))
            .into_iter()
            .collect();
        let decision = Decision::new(sampling, ratio);
        let result = decision.should_sample(
            parent.as_ref(),
            TraceId::from(1 << 100),
            "",
            &SpanKind::Consumer,
            &[],
            &links,
        );
        result.decision == SamplingDecision::RecordAndSample
    }

    #[test]
    fn the_callers_decision_is_followed_where_that_is_wanted() {
        let (kept, dropped) = (Some(TraceFlags::SAMPLED), Some(TraceFlags::default()));
        assert!(keeps(Sampling::ParentOrRatio, 0.0, kept, None));
        assert!(!keeps(Sampling::ParentOrRatio, 1.0, dropped, None));
        assert!(keeps(Sampling::ParentOrRatio, 1.0, None, None));
        assert!(!keeps(Sampling::ParentOrRatio, 0.0, None, None));
        assert!(!keeps(Sampling::None, 1.0, kept, None));
        assert!(keeps(Sampling::All, 0.0, dropped, None));
    }

    #[test]
    fn a_batch_is_kept_when_one_of_its_records_is() {
        let (kept, dropped) = (Some(TraceFlags::SAMPLED), Some(TraceFlags::default()));
        assert!(keeps(Sampling::ParentOrRatio, 0.0, None, kept));
        assert!(!keeps(Sampling::ParentOrRatio, 0.0, None, dropped));
        assert!(!keeps(Sampling::None, 0.0, None, kept));
    }
}
