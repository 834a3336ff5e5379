//! How figures, money, durations and tables look.

use std::io::{self, IsTerminal, Write};

use callmeter_core::UsdTotal;
use comfy_table::{CellAlignment, Table};

/// A count with thousands apart: `12,345`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// So many calls: `1 call`, `12,345 calls`.
pub(crate) fn calls(n: u64) -> String {
    plural(n, "call")
}

/// So many of a thing: `1 spool`, `2 spools`.
pub(crate) fn plural(n: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(n), if n == 1 { "" } else { "s" })
}

/// How many of a long list are named.
const A_FEW: usize = 5;

/// The first few names of a list, and how many more there are.
pub(crate) fn a_few(names: &[String]) -> String {
    let (named, more) = names.split_at(names.len().min(A_FEW));
    let mut says = named.join(", ");
    if !more.is_empty() {
        says.push_str(&format!(", and {} more", more.len()));
    }
    says
}

/// A text of at most `most` characters.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars()
        .take(most.saturating_sub(1))
        .chain(['…'])
        .collect()
}

/// A count in few characters: `999`, `12.3k`, `4.56M`.
pub(crate) fn short_count(n: u64) -> String {
    let scaled = |unit: u64, letter: &str| {
        let (whole, rest) = (n / unit, n % unit);
        let decimals = if whole >= 100 { 0 } else { 1 };
        if decimals == 0 {
            format!("{whole}{letter}")
        } else {
            format!("{whole}.{}{letter}", rest * 10 / unit)
        }
    };
    match n {
        0..10_000 => count(n),
        10_000..1_000_000 => scaled(1_000, "k"),
        1_000_000..1_000_000_000 => scaled(1_000_000, "M"),
        _ => scaled(1_000_000_000, "G"),
    }
}

/// A duration: `850 µs`, `12 ms`, `3.4 s`, `2 min 5 s`.
pub(crate) fn duration_us(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{} ms", us / 1_000),
        1_000_000..60_000_000 => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
        _ => format!("{} min {} s", us / 60_000_000, us % 60_000_000 / 1_000_000),
    }
}

/// A size: `118 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes / 1_024),
        1_048_576..1_073_741_824 => {
            format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20)
        }
        _ => format!("{}.{} GiB", bytes >> 30, ((bytes & 0x3fff_ffff) * 10) >> 30),
    }
}

/// A share in thousandths as a percentage: `1.2 %`.
pub(crate) fn per_mille(share: Option<u64>) -> String {
    share.map_or_else(|| "–".to_owned(), |n| format!("{}.{} %", n / 10, n % 10))
}

/// A difference of money with its sign: `+$1.20`, `-$0.4000`, `$0`.
pub(crate) fn difference(usd: UsdTotal) -> String {
    let short = usd.to_short();
    if usd.as_pico() > 0 {
        format!("+{short}")
    } else {
        short
    }
}

/// How long ago, roughly: `3 s ago`.
pub(crate) fn ago(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    match seconds {
        ..0 => "ahead of this machine's clock".to_owned(),
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// A table without lines; columns from `numbers_from` on are figures. On a terminal that is too narrow for it,
/// the longest names are cut; what is piped is whole.
pub(crate) fn table(head: &[&str], numbers_from: usize, mut rows: Vec<Vec<String>>) -> String {
    if let Some(width) = terminal_width() {
        fit(head, numbers_from, &mut rows, width);
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(head.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, GAP));
        if at >= numbers_from {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

/// The space between columns.
const GAP: u16 = 2;
/// No name is cut shorter than this.
const SHORTEST_NAME: usize = 8;

/// The width of the terminal on standard output, if it is one.
pub(crate) fn terminal_width() -> Option<usize> {
    #[cfg(unix)]
    if io::stdout().is_terminal() {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        return Some(usize::from(size.ws_col)).filter(|width| *width > 0);
    }
    None
}

/// Cuts the widest of the first `names` columns until a row fits into `width`, as far as that goes. Moments
/// stay whole.
fn fit(head: &[&str], names: usize, rows: &mut [Vec<String>], width: usize) {
    let length = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = head.iter().map(|name| length(name)).collect();
    for row in rows.iter() {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = length(cell).max(*widest);
        }
    }
    let gaps = usize::from(GAP) * widths.len().saturating_sub(1);
    let mut excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(width);
    let has_letters: Vec<bool> = (0..names)
        .map(|at| {
            let mut cells = rows.iter().filter_map(|row| row.get(at));
            cells.any(|cell| cell.contains(char::is_alphabetic))
        })
        .collect();
    while excess > 0 {
        let names = widths.iter_mut().zip(&has_letters);
        let names = names.filter_map(|(width, is_name)| is_name.then_some(width));
        let Some(widest) = names.filter(|width| **width > SHORTEST_NAME).max() else {
            break;
        };
        *widest -= 1;
        excess -= 1;
    }
    for row in rows {
        for (cell, width) in row.iter_mut().zip(&widths).take(names) {
            *cell = cut(cell, *width);
        }
    }
}

/// Writes to standard output.
pub(crate) fn out(text: &str) -> io::Result<()> {
    io::stdout().lock().write_all(text.as_bytes())
}

/// Whether progress may be shown: standard error is a terminal.
pub(crate) fn shows_progress() -> bool {
    io::stderr().is_terminal()
}

/// Whether an error is that nobody reads any more.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Bold on a terminal.
pub(crate) fn bold(text: &str, color: bool) -> String {
    if color {
        format!("\u{1b}[1m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

/// A field of comma-separated values (RFC 4180). A text that a spreadsheet would take for a formula is
/// quoted with a leading apostrophe.
pub(crate) fn csv_field(text: &str) -> String {
    let guarded = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if guarded.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", guarded.replace('"', "\"\""))
    } else {
        guarded
    }
}

/// Objects as comma-separated values: the fields of words, which are guarded, then those of figures.
pub(crate) fn csv(
    words: &[&str],
    figures: &[&str],
    rows: &[serde_json::Map<String, serde_json::Value>],
) -> String {
    let head: Vec<&str> = words.iter().chain(figures).copied().collect();
    let mut text = head.join(",") + "\r\n";
    for row in rows {
        let plain = |name: &&str| match row.get(*name) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(serde_json::Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        };
        let guarded = words.iter().map(|name| csv_field(&plain(name)));
        let fields: Vec<String> = guarded.chain(figures.iter().map(plain)).collect();
        text.push_str(&(fields.join(",") + "\r\n"));
    }
    text
}

/// The fields of an object of JSON.
pub(crate) fn object(value: serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    match value {
        serde_json::Value::Object(map) => map,
        _ => serde_json::Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_round_down() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(
            [
                short_count(9_999),
                short_count(12_399),
                short_count(4_560_000)
            ],
            ["9,999", "12.3k", "4.5M"]
        );
        assert_eq!(
            [duration_us(12_345), duration_us(3_456_789)],
            ["12 ms", "3.4 s"]
        );
        assert_eq!([size(120_832), size(1_600_000)], ["118 KiB", "1.5 MiB"]);
    }

    #[test]
    fn of_many_names_a_few_are_named() {
        let homes: Vec<String> = (1..=7).map(|n| format!("/home/{n}")).collect();
        assert_eq!(a_few(&homes[..2]), "/home/1, /home/2");
        assert_eq!(
            a_few(&homes),
            "/home/1, /home/2, /home/3, /home/4, /home/5, and 2 more"
        );
    }

    #[test]
    fn the_longest_names_are_cut_until_a_row_fits() {
        let row =
            |caller: &str, status: &str| [caller, status, "12,345"].map(str::to_owned).to_vec();
        let mut rows = vec![
            row("a_caller_with_a_long_name", "error (rate_limit)"),
            row("b", "ok"),
        ];
        fit(&["caller", "status", "calls"], 2, &mut rows, 42);
        assert_eq!(rows[0], ["a_caller_with_a…", "error (rate_lim…", "12,345"]);
        assert_eq!(rows[1], ["b", "ok", "12,345"]);
        // A moment is not cut, and nothing further than to eight characters, whatever the width.
        fit(&["caller", "status", "calls"], 2, &mut rows, 5);
        assert_eq!(rows[0], ["a_calle…", "error (…", "12,345"]);
        let mut rows = vec![row("11-26 08:50:10", "error")];
        fit(&["started (UTC)", "status", "calls"], 2, &mut rows, 5);
        assert_eq!(rows[0], ["11-26 08:50:10", "error", "12,345"]);
    }

    #[test]
    fn a_formula_in_a_name_stays_a_text_in_a_spreadsheet() {
        assert_eq!(csv_field("=1+1"), "'=1+1");
        assert_eq!(csv_field("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
