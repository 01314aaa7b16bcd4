//! Which traces are sent.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// A share of all traces, by their ids, so that servers with the same share send the same traces. A client may say that its trace is
/// not sampled, but not that it is: everyone could fill the collector then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) percent: u32,
}

impl ShouldSample for Share {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let known = parent.filter(|parent| parent.has_active_span()).map(|parent| parent.span().span_context().clone());
        let decided = match known {
            // Within this server a trace is whole.
            Some(parent) if !parent.is_remote() => Some(parent.is_sampled()),
            Some(parent) if !parent.is_sampled() => Some(false),
            Some(_) | None => None,
        };
        match decided {
            None => Sampler::TraceIdRatioBased(f64::from(self.percent) / 100.0)
                .should_sample(None, trace, name, kind, attributes, links),
            Some(sampled) => SamplingResult {
                decision: if sampled { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop },
                attributes: Vec::new(),
                trace_state: TraceState::NONE,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags};

    use super::*;

    fn sends(percent: u32, trace: u128, parent: Option<(bool, bool)>) -> bool {
        let trace = TraceId::from(trace);
        let parent = parent.map(|(remote, sampled)| {
            let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
            let context = SpanContext::new(trace, SpanId::from(1), flags, remote, TraceState::NONE);
            Context::new().with_remote_span_context(context)
        });
        let said = Share { percent }.should_sample(parent.as_ref(), trace, "n", &SpanKind::Server, &[], &[]);
        said.decision == SamplingDecision::RecordAndSample
    }

    #[test]
    fn a_client_may_keep_its_trace_from_being_sent_and_never_have_it_sent() {
        let (low, high) = (1, u128::MAX);
        assert!(sends(50, low, None) && !sends(50, high, None));
        assert!(sends(50, low, Some((true, true))) && !sends(50, low, Some((true, false))));
        assert!(!sends(50, high, Some((true, true))));
        assert!(!sends(0, low, Some((true, true))) && sends(100, high, Some((true, true))));
        // Its own spans follow the first.
        assert!(sends(50, high, Some((false, true))) && !sends(50, low, Some((false, false))));
    }
}
