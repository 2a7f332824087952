//! Metrics: one registry a process, whatever roles run in it, and a description of everything that it holds.
//!
//! Whoever measures asks a [`Meter`] for its counters, gauges and histograms, and keeps them. Several roles may ask for
//! the same name: they share it. What was asked for is described by docs/reference/metrics.md, which is rendered from here.

pub mod build;
pub mod messaging;
mod reference;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::Collector;
use prometheus::{
    Encoder as _, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use prometheus::Error;

/// Upper bounds of durations in seconds: what happens within a process and a database.
pub const DURATIONS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Makes metrics and shows them. Clones share everything.
#[derive(Clone)]
pub struct Meter {
    shared: Arc<Shared>,
    role: &'static str,
}

struct Shared {
    registry: Registry,
    made: Mutex<BTreeMap<&'static str, Made>>,
    before_each: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
}

/// A metric with what its readers have to know.
struct Made {
    help: &'static str,
    labels: &'static [&'static str],
    roles: Vec<&'static str>,
    metric: Metric,
}

#[derive(Clone)]
enum Metric {
    Counter(IntCounterVec),
    Gauge(IntGaugeVec),
    FloatGauge(GaugeVec),
    Histogram(HistogramVec),
}

impl Metric {
    fn word(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) | Self::FloatGauge(_) => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }

    fn collector(&self) -> Box<dyn Collector> {
        match self.clone() {
            Self::Counter(vec) => Box::new(vec),
            Self::Gauge(vec) => Box::new(vec),
            Self::FloatGauge(vec) => Box::new(vec),
            Self::Histogram(vec) => Box::new(vec),
        }
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

impl Meter {
    /// A meter that has made nothing yet.
    pub fn new() -> Self {
        let shared = Shared {
            registry: Registry::new(),
            made: Mutex::default(),
            before_each: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            role: "every",
        }
    }

    /// The same meter in the hands of a role, which is named in the reference.
    #[must_use]
    pub fn of(&self, role: &'static str) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            role,
        }
    }

    fn made(&self) -> MutexGuard<'_, BTreeMap<&'static str, Made>> {
        self.shared.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The metric of a name: the one that another role has made, or a new one.
    fn make(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        new: impl FnOnce(Opts) -> Result<Metric, Error>,
    ) -> Result<Metric, Error> {
        let mut made = self.made();
        if let Some(before) = made.get_mut(name) {
            if before.labels != labels || before.help != help {
                return Err(Error::AlreadyReg);
            }
            if !before.roles.contains(&self.role) {
                before.roles.push(self.role);
            }
            return Ok(before.metric.clone());
        }
        let metric = new(Opts::new(name, help))?;
        self.shared.registry.register(metric.collector())?;
        let roles = vec![self.role];
        let one = Made {
            help,
            labels,
            roles,
            metric: metric.clone(),
        };
        made.insert(name, one);
        Ok(metric)
    }

    /// Counters, one for each value of the labels.
    ///
    /// # Errors
    /// When the name is that of another metric.
    pub fn counters(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Result<IntCounterVec, Error> {
        let new = |options| IntCounterVec::new(options, labels).map(Metric::Counter);
        match self.make(name, help, labels, new)? {
            Metric::Counter(vec) => Ok(vec),
            _ => Err(Error::AlreadyReg),
        }
    }

    /// One counter.
    ///
    /// # Errors
    /// When the name is that of another metric.
    pub fn counter(&self, name: &'static str, help: &'static str) -> Result<IntCounter, Error> {
        self.counters(name, help, &[])?
            .get_metric_with_label_values::<&str>(&[])
    }

    /// Gauges of whole numbers, one for each value of the labels.
    ///
    /// # Errors
    /// When the name is that of another metric.
    pub fn gauges(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Result<IntGaugeVec, Error> {
        let new = |options| IntGaugeVec::new(options, labels).map(Metric::Gauge);
        match self.make(name, help, labels, new)? {
            Metric::Gauge(vec) => Ok(vec),
            _ => Err(Error::AlreadyReg),
        }
    }

    /// One gauge of whole numbers.
    ///
    /// # Errors
    /// When the name is that of another metric.
    pub fn gauge(&self, name: &'static str, help: &'static str) -> Result<IntGauge, Error> {
        self.gauges(name, help, &[])?
            .get_metric_with_label_values::<&str>(&[])
    }

    /// Gauges of seconds, one for each value of the labels.
    ///
    /// # Errors
    /// When the name is that of another metric.
    pub fn seconds(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Result<GaugeVec, Error> {
        let new = |options| GaugeVec::new(options, labels).map(Metric::FloatGauge);
        match self.make(name, help, labels, new)? {
            Metric::FloatGauge(vec) => Ok(vec),
            _ => Err(Error::AlreadyReg),
        }
    }

    /// One gauge of seconds.
    ///
    /// # Errors
    /// When the name is that of another metric.
    pub fn second(&self, name: &'static str, help: &'static str) -> Result<Gauge, Error> {
        self.seconds(name, help, &[])?
            .get_metric_with_label_values::<&str>(&[])
    }

    /// Histograms with these upper bounds, one for each value of the labels.
    ///
    /// # Errors
    /// When the name is that of another metric.
    pub fn histograms(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        bounds: &[f64],
    ) -> Result<HistogramVec, Error> {
        let new = |options| {
            let options = HistogramOpts::from(options).buckets(bounds.to_vec());
            HistogramVec::new(options, labels).map(Metric::Histogram)
        };
        match self.make(name, help, labels, new)? {
            Metric::Histogram(vec) => Ok(vec),
            _ => Err(Error::AlreadyReg),
        }
    }

    /// One histogram.
    ///
    /// # Errors
    /// When the name is that of another metric.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        bounds: &[f64],
    ) -> Result<Histogram, Error> {
        self.histograms(name, help, &[], bounds)?
            .get_metric_with_label_values::<&str>(&[])
    }

    /// Looks at something each time the metrics are shown, and only then.
    pub fn before_each(&self, look: impl Fn() + Send + Sync + 'static) {
        let mut before_each = self
            .shared
            .before_each
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        before_each.push(Box::new(look));
    }

    /// Everything in Prometheus' text form, and the media type of that.
    pub fn text(&self) -> (String, Vec<u8>) {
        let before_each = self
            .shared
            .before_each
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for look in before_each.iter() {
            look();
        }
        drop(before_each);
        let (encoder, mut text) = (TextEncoder::new(), Vec::new());
        if let Err(error) = encoder.encode(&self.shared.registry.gather(), &mut text) {
            tracing::error!("metrics cannot be written: {error}");
        }
        (encoder.format_type().to_owned(), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(meter: &Meter) -> String {
        String::from_utf8(meter.text().1).unwrap()
    }

    #[test]
    fn roles_of_one_process_share_what_has_the_same_name() {
        let meter = Meter::new();
        let one = meter
            .of("work")
            .counters("sent_total", "Sent.", &["topic"])
            .unwrap();
        let other = meter
            .of("relay")
            .counters("sent_total", "Sent.", &["topic"])
            .unwrap();
        one.with_label_values(&["a"]).inc();
        other.with_label_values(&["a"]).inc();
        assert!(text(&meter).contains("sent_total{topic=\"a\"} 2"));
        assert!(meter.reference().contains("work, relay"));
    }

    #[test]
    fn a_name_has_one_meaning() {
        let meter = Meter::new();
        meter.counters("sent_total", "Sent.", &["topic"]).unwrap();
        assert!(meter.counters("sent_total", "Sent.", &["kind"]).is_err());
        assert!(meter.counters("sent_total", "Other.", &["topic"]).is_err());
        assert!(meter.gauges("sent_total", "Sent.", &["topic"]).is_err());
    }

    #[test]
    fn what_is_looked_at_before_each_answer_is_in_it() {
        let meter = Meter::new();
        let looks = meter.gauge("looks", "Looks.").unwrap();
        meter.before_each(move || looks.inc());
        assert!(text(&meter).contains("looks 1"));
        assert!(text(&meter).contains("looks 2"));
    }
}
