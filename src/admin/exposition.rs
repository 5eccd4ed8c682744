//! The text formats of Prometheus: version 0.0.4, and OpenMetrics 1.0 on request.
//!
//! Sources: <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::fmt::{Display, Write as _};

use crate::core::histogram::Buckets;

/// The format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Text, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Dialect {
    /// The content type.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The type of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Info,
    Histogram,
}

/// Label names and values.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// Writes metrics.
#[derive(Debug)]
pub(super) struct Exposition {
    dialect: Dialect,
    out: String,
    /// The name of the current family, with the suffix of its kind.
    name: String,
}

impl Exposition {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, out: String::new(), name: String::new() }
    }

    /// Begins a family; `name` is without the suffix of its kind.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) -> &mut Self {
        let suffix = match kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.name = format!("{name}{suffix}");
        let (of, kind) = match (self.dialect, kind) {
            (Dialect::OpenMetrics, Kind::Counter) => (name, "counter"),
            (Dialect::OpenMetrics, Kind::Info) => (name, "info"),
            (_, Kind::Counter) => (self.name.as_str(), "counter"),
            (_, Kind::Gauge | Kind::Info) => (self.name.as_str(), "gauge"),
            (_, Kind::Histogram) => (self.name.as_str(), "histogram"),
        };
        let _ = writeln!(self.out, "# HELP {of} {help}\n# TYPE {of} {kind}");
        self
    }

    /// Writes a value of the family.
    pub(super) fn value(&mut self, labels: Labels<'_>, value: impl Display) -> &mut Self {
        self.sample("", labels, None, value);
        self
    }

    /// Writes a histogram of the family.
    pub(super) fn buckets(&mut self, labels: Labels<'_>, buckets: &Buckets) {
        for (end, count) in buckets.cumulative() {
            let end = if end.is_finite() { format!("{end:?}") } else { "+Inf".to_owned() };
            self.sample("_bucket", labels, Some(("le", &end)), count);
        }
        self.sample("_sum", labels, None, buckets.seconds());
        self.sample("_count", labels, None, buckets.count());
    }

    fn sample(&mut self, suffix: &str, labels: Labels<'_>, last: Option<(&str, &str)>, value: impl Display) {
        let _ = write!(self.out, "{}{suffix}", self.name);
        for (number, (label, text)) in labels.iter().copied().chain(last).enumerate() {
            let _ = write!(self.out, "{}{label}=\"", if number == 0 { '{' } else { ',' });
            for c in text.chars() {
                let _ = match c {
                    '\\' => self.out.write_str("\\\\"),
                    '"' => self.out.write_str("\\\""),
                    '\n' => self.out.write_str("\\n"),
                    c => self.out.write_char(c),
                };
            }
            self.out.push('"');
        }
        let end = if labels.is_empty() && last.is_none() { "" } else { "}" };
        let _ = writeln!(self.out, "{end} {value}");
    }

    /// All of it.
    pub(super) fn finish(mut self) -> String {
        if self.dialect == Dialect::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::histogram::Histogram;

    fn written(dialect: Dialect) -> String {
        let mut out = Exposition::new(dialect);
        out.family("a_logs", Kind::Counter, "Logs").value(&[("source", "x\"\\\ny")], 3);
        out.family("b", Kind::Info, "What").value(&[("v", "1"), ("w", "2")], 1);
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(5), 2);
        out.family("c_seconds", Kind::Histogram, "Time").buckets(&[], &histogram.read());
        out.finish()
    }

    #[test]
    fn counters_and_infos_are_named_as_each_format_requires() {
        let text = written(Dialect::Prometheus);
        let start = "# HELP a_logs_total Logs\n# TYPE a_logs_total counter\na_logs_total{source=\"x\\\"\\\\\\ny\"} 3\n\
             # HELP b_info What\n# TYPE b_info gauge\nb_info{v=\"1\",w=\"2\"} 1\n";
        assert!(text.starts_with(start), "{text}");
        let text = written(Dialect::OpenMetrics);
        let start = "# HELP a_logs Logs\n# TYPE a_logs counter\na_logs_total{source=\"x\\\"\\\\\\ny\"} 3\n\
             # HELP b What\n# TYPE b info\nb_info{v=\"1\",w=\"2\"} 1\n";
        assert!(text.starts_with(start) && text.ends_with("c_seconds_count 2\n# EOF\n"), "{text}");
    }

    #[test]
    fn a_histogram_has_its_buckets_sum_and_count() {
        let text = written(Dialect::Prometheus);
        for line in [
            "# TYPE c_seconds histogram",
            "c_seconds_bucket{le=\"0.001\"} 0",
            "c_seconds_bucket{le=\"0.005\"} 2",
            "c_seconds_bucket{le=\"1.0\"} 2",
            "c_seconds_bucket{le=\"+Inf\"} 2",
            "c_seconds_sum 0.01",
            "c_seconds_count 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
