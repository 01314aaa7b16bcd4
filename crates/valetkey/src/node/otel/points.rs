//! The figures as OTLP has them, made of the text that a scrape shows: so there is one set of names, and counting costs nothing more.

use std::collections::BTreeMap;

use metrics::Unit;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, Summary, SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::node::figures::FIGURES;

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

type Labels = Vec<(String, String)>;

/// All lines of one figure with the same labels.
#[derive(Default)]
struct Series {
    value: f64,
    sum: f64,
    count: u64,
    /// Each bucket's upper bound, and how many are at most that.
    buckets: Vec<(f64, u64)>,
}

/// Reads a scrape.
pub(super) fn of(text: &str, resource: &Resource, began: u64, now: u64) -> ResourceMetrics {
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut found: BTreeMap<&str, BTreeMap<Labels, Series>> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kinds.insert(name, kind);
        } else if let Some((name, labels, value)) = sample(line) {
            take(&kinds, &mut found, name, labels, value);
        }
    }
    let metrics = found.into_iter().map(|(name, series)| metric(name, kinds.get(name), series, began, now)).collect();
    let scope = InstrumentationScope { name: "valetkey".to_owned(), ..InstrumentationScope::default() };
    ResourceMetrics {
        resource: Some(resource.clone()),
        scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics, schema_url: String::new() }],
        schema_url: String::new(),
    }
}

/// Puts one line's value where it belongs.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are whole and not negative")]
fn take<'t>(
    kinds: &BTreeMap<&str, &str>,
    found: &mut BTreeMap<&'t str, BTreeMap<Labels, Series>>,
    name: &'t str,
    mut labels: Labels,
    value: f64,
) {
    let composed = |name: &str| matches!(kinds.get(name), Some(&("histogram" | "summary")));
    let part = ["_bucket", "_sum", "_count"].into_iter().find_map(|part| Some((name.strip_suffix(part)?, part)));
    let (name, part) = part.filter(|(name, _)| composed(name)).unwrap_or((name, ""));
    let bound = labels.iter().position(|(label, _)| label == "le" || label == "quantile");
    let bound = bound.map(|at| labels.remove(at).1);
    let series = found.entry(name).or_default().entry(labels).or_default();
    match (part, bound) {
        ("_sum", _) => series.sum = value,
        ("_count", _) => series.count = value as u64,
        ("_bucket", Some(bound)) => {
            if let Ok(bound) = bound.replace("+Inf", "inf").parse() {
                series.buckets.push((bound, value as u64));
            }
        }
        // A quantile is of the last minutes alone; sum and count say more.
        (_, Some(_)) => {}
        (_, None) => series.value = value,
    }
}

fn metric(name: &str, kind: Option<&&str>, series: BTreeMap<Labels, Series>, began: u64, now: u64) -> Metric {
    let number = |(labels, series): (Labels, Series)| NumberDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: began,
        time_unix_nano: now,
        value: Some(Number::AsDouble(series.value)),
        ..NumberDataPoint::default()
    };
    let data = match kind.copied() {
        Some("counter") => Data::Sum(Sum {
            data_points: series.into_iter().map(number).collect(),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
        Some("histogram") => Data::Histogram(Histogram {
            data_points: series.into_iter().map(|(labels, series)| histogram(labels, &series, began, now)).collect(),
            aggregation_temporality: CUMULATIVE,
        }),
        Some("summary") => Data::Summary(Summary {
            data_points: series
                .into_iter()
                .map(|(labels, series)| SummaryDataPoint {
                    attributes: attributes(labels),
                    start_time_unix_nano: began,
                    time_unix_nano: now,
                    count: series.count,
                    sum: series.sum,
                    ..SummaryDataPoint::default()
                })
                .collect(),
        }),
        Some(_) | None => Data::Gauge(Gauge { data_points: series.into_iter().map(number).collect() }),
    };
    let known = FIGURES.iter().find(|(figure, ..)| *figure == name);
    let unit = match known.map(|(_, _, unit, _)| unit) {
        Some(Unit::Seconds) => "s",
        Some(Unit::Bytes) => "By",
        Some(_) | None => "1",
    };
    Metric {
        name: name.to_owned(),
        description: known.map_or("", |(.., about)| about).to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

/// Buckets that each count for themselves; the last one has no bound.
fn histogram(labels: Labels, series: &Series, began: u64, now: u64) -> HistogramDataPoint {
    let mut before = 0;
    let own = |(_, upto): &(f64, u64)| upto.saturating_sub(std::mem::replace(&mut before, *upto));
    HistogramDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: began,
        time_unix_nano: now,
        count: series.count,
        sum: Some(series.sum),
        bucket_counts: series.buckets.iter().map(own).collect(),
        explicit_bounds: series.buckets.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite()).collect(),
        ..HistogramDataPoint::default()
    }
}

fn attributes(labels: Labels) -> Vec<KeyValue> {
    let value = |text| Some(AnyValue { value: Some(Value::StringValue(text)) });
    labels.into_iter().map(|(key, text)| KeyValue { key, value: value(text), ..KeyValue::default() }).collect()
}

/// A line's name, labels and value.
fn sample(line: &str) -> Option<(&str, Labels, f64)> {
    let (head, value) = line.rsplit_once(' ').filter(|_| !line.starts_with('#'))?;
    let value = value.parse().ok()?;
    let Some((name, rest)) = head.split_once('{') else { return Some((head, Labels::new(), value)) };
    let (mut labels, mut rest) = (Labels::new(), rest.strip_suffix('}')?);
    while let Some((label, quoted)) = rest.split_once("=\"") {
        let (text, after) = unquoted(quoted)?;
        labels.push((label.to_owned(), text));
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Some((name, labels, value))
}

/// What stands before the closing quote, and what stands behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let (mut plain, mut chars) = (String::new(), text.char_indices());
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((plain, text.get(at + 1..)?)),
            '\\' => plain.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => plain.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPE: &str = r#"# HELP vk_vend_requests_total Requests
# TYPE vk_vend_requests_total counter
vk_vend_requests_total{dialect="r2",outcome="vended"} 3
vk_vend_requests_total{dialect="a\"b\\c,d=\"",outcome="x"} 1

# TYPE vk_ledger_queue gauge
vk_ledger_queue 2.5

# TYPE vk_ledger_commit_seconds histogram
vk_ledger_commit_seconds_bucket{le="0.1"} 4
vk_ledger_commit_seconds_bucket{le="0.3"} 6
vk_ledger_commit_seconds_bucket{le="+Inf"} 7
vk_ledger_commit_seconds_sum 1.5
vk_ledger_commit_seconds_count 7

# TYPE vk_ledger_group_size summary
vk_ledger_group_size{quantile="0.5"} 2
vk_ledger_group_size_sum 20
vk_ledger_group_size_count 9
"#;

    #[test]
    fn a_scrape_says_the_same_in_otlp() {
        let made = of(SCRAPE, &Resource::default(), 5, 9);
        let metrics = &made.scope_metrics[0].metrics;
        let data = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap();
        assert_eq!(metrics.len(), 4);
        let Some(Data::Sum(vends)) = &data("vk_vend_requests_total").data else { panic!() };
        assert!(vends.is_monotonic && vends.aggregation_temporality == CUMULATIVE);
        let values: Vec<_> = vends.data_points.iter().map(|point| point.value).collect();
        assert_eq!(values, [Some(Number::AsDouble(1.0)), Some(Number::AsDouble(3.0))]);
        let odd = vends.data_points[0].attributes[0].value.clone().unwrap().value;
        assert_eq!(odd, Some(Value::StringValue("a\"b\\c,d=\"".to_owned())));
        let Some(Data::Gauge(queue)) = &data("vk_ledger_queue").data else { panic!() };
        assert_eq!(queue.data_points[0].value, Some(Number::AsDouble(2.5)));
        let commits = data("vk_ledger_commit_seconds");
        let Some(Data::Histogram(histogram)) = &commits.data else { panic!() };
        let point = &histogram.data_points[0];
        assert_eq!((commits.unit.as_str(), point.count, point.sum), ("s", 7, Some(1.5)));
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (5, 9));
        assert_eq!(
            (point.bucket_counts.as_slice(), point.explicit_bounds.as_slice()),
            (&[4, 2, 1][..], &[0.1, 0.3][..])
        );
        let Some(Data::Summary(size)) = &data("vk_ledger_group_size").data else { panic!() };
        assert_eq!((size.data_points[0].count, size.data_points[0].quantile_values.len()), (9, 0));
    }
}
