//! The reasons of the verdict, in the lines that are left for them. Pure.

use super::status::Reason;
use crate::cli::terminal::{fit, wrap};
use crate::core::printable::printable;
use crate::script::Paint;

/// Maximum number of reasons of the verdict that are shown, and of lines for the text of one.
const MAX_REASONS: usize = 3;
const MAX_TEXT: usize = 5;

/// Minimum number of lines for the reasons.
pub(super) const MIN_REASON_LINES: usize = 4;

/// The first reasons in at most `room` lines, and the number of further ones.
pub(super) fn reasons(all: &[Reason], columns: usize, room: usize, paint: Paint) -> Vec<String> {
    let (mut lines, mut shown) = (Vec::new(), 0);
    for one in all.iter().take(MAX_REASONS) {
        // One line is for the number of further reasons.
        let left = room.saturating_sub(1 + lines.len());
        if shown > 0 && left < MIN_REASON_LINES {
            break;
        }
        lines.extend(reason(one, columns, left).iter().map(|line| paint.yellow(line)));
        shown += 1;
    }
    if shown < all.len() {
        lines.push(paint.dim(&format!("and {} more", all.len() - shown)));
    }
    lines
}

/// A reason in at most `room` lines. The consequence gives way first, then the end of the text.
fn reason(reason: &Reason, columns: usize, room: usize) -> Vec<String> {
    let part = |label: &str, text: &str| match text {
        "" => Vec::new(),
        text => wrap(&format!("{label}{}", printable(text)), columns),
    };
    let (mut lines, consequence, remedy) =
        (part("", &reason.text), part("So: ", &reason.consequence), part("Do: ", &reason.remedy));
    let most = MAX_TEXT.min(room.saturating_sub(remedy.len())).max(1);
    if lines.len() > most {
        lines.truncate(most);
        // One column too wide, so that it is cut and marked.
        lines[most - 1] = fit(&format!("{:columns$}…", lines[most - 1]), columns);
    }
    if lines.len() + consequence.len() + remedy.len() <= room {
        lines.extend(consequence);
    }
    lines.extend(remedy);
    lines.truncate(room);
    lines
}
