//! A line over the last hour, as SVG.

use std::fmt::Write as _;

use super::words::Text;
use crate::admin::history::Series;

/// Steps of a graph: further samples are combined.
const STEPS: usize = 120;
const HEIGHT: f32 = 30.0;

/// The series as a line from 0 to its highest value, with a text alternative. Empty if there are no samples.
pub(super) fn line(series: &Series, what: &str) -> String {
    let highest = highest_of_steps(series);
    let most = highest.iter().flatten().copied().fold(0.0_f32, f32::max);
    if highest.iter().flatten().count() < 2 {
        return String::new();
    }
    let label = Text(format!("{what} in the last hour, at most {most:.1}"));
    let mut out = format!(
        "<svg viewBox=\"0 0 {STEPS} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{label}\">"
    );
    // The newest is at the right.
    let first = STEPS.saturating_sub(highest.len());
    let mut points = String::new();
    for (step, value) in highest.iter().enumerate() {
        match value {
            Some(value) => {
                let y = HEIGHT - 1.0 - value / most.max(f32::MIN_POSITIVE) * (HEIGHT - 2.0);
                let _ = write!(points, "{},{y:.1} ", first + step);
            }
            None => end_line(&mut out, &mut points),
        }
    }
    end_line(&mut out, &mut points);
    out + "</svg>"
}

fn end_line(out: &mut String, points: &mut String) {
    if !points.is_empty() {
        let _ = write!(out, "<polyline points=\"{}\"/>", points.trim_end());
        points.clear();
    }
}

/// The highest value of each step, the oldest first.
fn highest_of_steps(series: &Series) -> Vec<Option<f32>> {
    let values: Vec<Option<f32>> = series.values().collect();
    let together = values.len().div_ceil(STEPS).max(1);
    // Counted from the newest, so that a step holds the same samples until it leaves the graph by one sample.
    let mut steps: Vec<Option<f32>> =
        values.rchunks(together).map(|chunk| chunk.iter().flatten().copied().reduce(f32::max)).collect();
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::history::series_of;

    #[test]
    fn a_graph_has_its_highest_value_at_the_top_and_its_newest_at_the_right() {
        let svg = line(&series_of([Some(0.0), Some(10.0), None, Some(5.0), Some(5.0)]), "lag");
        assert!(
            svg.contains("<polyline points=\"115,29.0 116,1.0\"/><polyline points=\"118,15.0 119,15.0\"/>"),
            "{svg}"
        );
        assert!(svg.contains("aria-label=\"lag in the last hour, at most 10.0\""), "{svg}");
        assert_eq!(line(&series_of([Some(1.0)]), "lag"), "");
    }

    #[test]
    fn a_graph_of_an_hour_has_a_bounded_number_of_steps() {
        let svg = line(&series_of((0..360_u16).map(|value| Some(f32::from(value)))), "rate");
        assert_eq!(svg.matches(',').count(), STEPS + 1, "one is in the label: {svg}");
        assert!(svg.contains(" 119,1.0\""), "{svg}");
    }
}
