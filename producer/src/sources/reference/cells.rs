//! What a cell says: nothing, an amount, a text, or a number that only a person can read for sure.

use redline_schemas::amount::AmountError;
use redline_schemas::{Amount, ColumnValue};

/// What an amount may have.
const DIGITS: &str = "at most 29 digits before and 9 after the point";
/// Digits of a number with a plus sign, from which on it is one to call.
const PHONE: usize = 7;

/// The value of a cell: none when it is empty, an amount when it reads as one and keeps its digits, else text.
///
/// # Errors
/// What is almost a number, since as a text it would be in no calculation, and nobody would see it.
pub(super) fn value(cell: &str) -> Result<Option<ColumnValue>, String> {
    if cell.is_empty() {
        return Ok(None);
    }
    let trimmed = cell.trim();
    let text = || Ok(Some(ColumnValue::Text(cell.to_owned())));
    if leads_with_zero(trimmed) {
        return text();
    }
    match trimmed.parse::<Amount>() {
        Ok(amount) => Ok(Some(ColumnValue::Amount(amount))),
        Err(AmountError::OutOfRange) if is_plain(trimmed) => Err(format!(
            "`{}` has more digits than an amount; write {DIGITS}",
            shortened(trimmed)
        )),
        Err(_) => match almost(trimmed) {
            Some(remedy) => Err(format!(
                "`{}` reads almost like a number and would be a text; {remedy}",
                shortened(trimmed)
            )),
            None => text(),
        },
    }
}

/// Such as `007`, whose zeros an amount would lose.
fn leads_with_zero(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    matches!(digits, [b'0', second, ..] if second.is_ascii_digit())
}

/// Whether it is `-?digits[.digits]`, however long.
fn is_plain(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    is_digits(whole) && is_digits(fraction)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// What to write instead of what is almost a number; none for a text.
fn almost(text: &str) -> Option<String> {
    let (sign, body) = undressed(text)?;
    if let Some(remedy) = exponent(sign, body) {
        return Some(remedy);
    }
    let mut readings = readings(body).into_iter().map(|digits| format!("{sign}{digits}"));
    let first = readings.next()?;
    if leads_with_zero(&first) {
        return None;
    }
    if first.parse::<Amount>() == Err(AmountError::OutOfRange) {
        return Some(format!("write {first} with {DIGITS}"));
    }
    Some(match readings.next() {
        Some(second) => format!("write {first}, or {second} when the comma is its decimal point"),
        None => format!("write {first}"),
    })
}

/// Takes off what stands around a number: signs, parentheses, a currency's sign.
fn undressed(text: &str) -> Option<(&'static str, &str)> {
    const AROUND: [char; 5] = ['$', '€', '£', '¥', '%'];
    const MINUS: [char; 3] = ['-', '−', '–'];
    let inside = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let mut body = inside.unwrap_or(text);
    let mut minus = inside.is_some();
    let mut plus = false;
    // A sign and a currency's sign in either order.
    for _ in 0..2 {
        body = body.trim().trim_matches(AROUND).trim();
        if let Some(rest) = body.strip_prefix(MINUS).or_else(|| body.strip_suffix(MINUS)) {
            if minus || plus {
                return None;
            }
            (minus, body) = (true, rest.trim());
        } else if let Some(rest) = body.strip_prefix('+') {
            if minus || plus {
                return None;
            }
            (plus, body) = (true, rest.trim());
        }
    }
    let is_phone = plus && body.len() >= PHONE && !body.contains(['.', ',']);
    (!is_phone).then_some((if minus { "-" } else { "" }, body))
}

/// The numbers that a text without a sign may mean.
fn readings(text: &str) -> Vec<String> {
    if let Some(number) = with_point(text, '.') {
        return vec![number];
    }
    let mut readings = Vec::new();
    for (group, point) in [
        (',', '.'),
        ('.', ','),
        (' ', '.'),
        (' ', ','),
        ('\u{a0}', '.'),
        ('\u{a0}', ','),
        ('\u{202f}', '.'),
        ('\u{202f}', ','),
        ('\'', '.'),
        ('’', '.'),
        ('_', '.'),
    ] {
        readings.extend(grouped(text, group, point));
    }
    readings.extend(with_point(text, ','));
    readings.dedup();
    readings
}

/// `1.5E+10`; without a point and a sign it may as well be a name, such as `1E5`.
fn exponent(sign: &str, text: &str) -> Option<String> {
    let (mantissa, exponent) = text.split_once(['e', 'E'])?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let is_number = is_plain(mantissa) && is_digits(digits);
    if !is_number || (digits == exponent && !mantissa.contains('.')) {
        return None;
    }
    Some(match Amount::from_json_number(&format!("{sign}{text}")) {
        Ok(amount) => format!("write {amount}"),
        Err(_) => format!("write it without an exponent, {DIGITS}"),
    })
}

/// Digits with at most one point, which may also come first or last.
fn with_point(text: &str, point: char) -> Option<String> {
    let (whole, fraction) = text.split_once(point).unwrap_or((text, ""));
    let fits = |part: &str| part.is_empty() || is_digits(part);
    if !fits(whole) || !fits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(match fraction {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    })
}

/// Digits in groups: of three, or as in 12,34,567.50.
fn grouped(text: &str, group: char, point: char) -> Option<String> {
    let (whole, fraction) = match text.split_once(point) {
        Some((whole, fraction)) if is_digits(fraction) => (whole, Some(fraction)),
        Some(_) => return None,
        None => (text, None),
    };
    let groups: Vec<&str> = whole.split(group).collect();
    let (first, rest) = groups.split_first()?;
    let are_digits = groups.iter().all(|digits| is_digits(digits));
    let are_groups = match fraction {
        Some(_) => rest.last()?.len() == 3 && rest.iter().all(|digits| matches!(digits.len(), 2 | 3)),
        // Without a comma, points divide texts such as 1.200.300 as well.
        None => {
            group != '.'
                && first.len() <= 3
                && !first.starts_with('0')
                && rest.iter().all(|digits| digits.len() == 3)
        }
    };
    if rest.is_empty() || !are_digits || !are_groups {
        return None;
    }
    let whole = groups.concat();
    Some(match fraction {
        Some(fraction) => format!("{whole}.{fraction}"),
        None => whole,
    })
}

/// A quote where none may stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Misquoted {
    /// Of the cell, from 0.
    pub(super) place: usize,
    /// Line breaks before it.
    pub(super) breaks: u64,
}

/// Finds the first cell with a quote in it that it does not begin with, or with text after its closing quote.
pub(super) fn misquoted(record: &str) -> Option<Misquoted> {
    #[derive(Clone, Copy)]
    enum At {
        Start,
        Bare,
        Quoted,
        /// After a quote in quotes: they close, or it is doubled.
        Closing,
    }
    let mut found = Misquoted { place: 0, breaks: 0 };
    let mut at = At::Start;
    for byte in record.bytes() {
        if byte == b'\n' {
            found.breaks += 1;
        }
        at = match (at, byte) {
            (At::Quoted, b'"') => At::Closing,
            (At::Quoted, _) | (At::Start | At::Closing, b'"') => At::Quoted,
            (_, b',') => {
                found.place += 1;
                At::Start
            }
            (At::Bare, b'"') | (At::Closing, _) => return Some(found),
            _ => At::Bare,
        };
    }
    None
}
