//! One scrape's metrics as text. Must not know which there are.

use std::{borrow::Cow, fmt};

use nodewall_text::shown;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder},
    metrics::MetricType,
};

use super::{
    list,
    reading::{Reading, Value},
};

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in list::ALL {
            let samples = (metric.samples)(self);
            if samples.is_empty() {
                continue;
            }
            let mut family = encoder.encode_descriptor(metric.base(), metric.help, None, metric.kind)?;
            for (labels, value) in samples {
                // The format itself escapes no more than a quote, a backslash and a line's end.
                let labels = labels.iter().map(|value| shown(value));
                let labels: Vec<(&str, Cow<'_, str>)> = metric.labels.iter().copied().zip(labels).collect();
                match metric.kind {
                    MetricType::Info => family.encode_info(&labels)?,
                    kind if labels.is_empty() => sample(kind, value, &mut family)?,
                    kind => sample(kind, value, &mut family.encode_family(&labels)?)?,
                }
            }
        }
        Ok(())
    }
}

fn sample(kind: MetricType, value: Value, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
    type NoLabels = [(&'static str, &'static str); 0];
    match (kind, value) {
        (MetricType::Counter, Value::Whole(value)) => encoder.encode_counter::<NoLabels, u64, u64>(&value, None),
        (MetricType::Counter, Value::Real(value)) => encoder.encode_counter::<NoLabels, f64, u64>(&value, None),
        (_, Value::Whole(value)) => encoder.encode_gauge(&value),
        (_, Value::Real(value)) => encoder.encode_gauge(&value),
    }
}
