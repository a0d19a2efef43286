//! Datetimes, as pydantic reads them: RFC 3339 and its kin, a date, or seconds since 1970.

use std::fmt::Write as _;

use jiff::civil::Date;

use super::{Checked, Mistake};
use crate::{
    python::datetime::{Timestamp, Zone, in_range, to_wire},
    value::Value,
};

/// Numbers past this are milliseconds.
const LAST_SECOND: f64 = 2e10;

/// Reads a datetime; returns it as `datetime.isoformat` writes it.
pub(super) fn read(sent: &Value) -> Checked {
    let wrong = || Mistake::plain("datetime_type", "Input should be a valid datetime");
    match sent {
        Value::Int(int) => of_number(int.to_string().parse().unwrap_or(f64::NAN)),
        Value::Float(float) => of_number(*float),
        Value::Str(_) => of_text(sent.as_str().unwrap_or_default()),
        _ => Err(wrong()),
    }
}

fn of_text(text: &str) -> Checked {
    if let Some(time) = DateTimeReader(text.as_bytes()).read() {
        return Ok(time.into());
    }
    let digits = text.trim_start_matches(['+', '-']);
    let is_number = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    // Longer ones are no number to pydantic.
    match text.parse() {
        Ok(number) if is_number && text.len() < 20 => of_number(number),
        _ => of_date(text),
    }
}

/// Seconds or milliseconds since 1970.
fn of_number(number: f64) -> Checked {
    let is_millis = number.abs() > LAST_SECOND;
    let seconds = if is_millis { number / 1e3 } else { number };
    // Saturates where the year is out of range.
    #[expect(clippy::cast_possible_truncation)]
    let time = Timestamp::from_micros((seconds * 1e6).round() as i64);
    if !in_range(time, &Zone::utc()) {
        return Err(unknown_to_python(if number < 0.0 {
            "dates before 0000 are not supported as unix timestamps"
        } else {
            "dates after 9999 are not supported as unix timestamps"
        }));
    }
    let text = to_wire(time, &Zone::utc());
    Ok(text.replace('Z', "+00:00").into())
}

/// A time in a year that Python has no datetimes of.
fn unknown_to_python(error: &'static str) -> Mistake {
    let text = format!("Input should be a valid datetime, {error}");
    Mistake::with("datetime_parsing", text, "error", error.into())
}

/// A date without a time; its mistakes are those of every text that is no datetime.
fn of_date(text: &str) -> Checked {
    match parse_date(text.as_bytes()) {
        Ok(date) if date.year() == 0 => Err(unknown_to_python("year 0 is out of range")),
        Ok(date) => Ok(format!("{date}T00:00:00").into()),
        Err(error) => {
            let text = format!("Input should be a valid datetime or date, {error}");
            let kind = "datetime_from_date_parsing";
            Err(Mistake::with(kind, text, "error", error.into()))
        }
    }
}

fn parse_date(text: &[u8]) -> Result<Date, &'static str> {
    const SEPARATOR: &str = "invalid date separator, expected `-`";
    let Some((date, rest)) = text.split_at_checked(10) else {
        return Err("input is too short");
    };
    let number = |digits: &[u8], error: &'static str| {
        digits.iter().try_fold(0_i16, |number, digit| {
            let digit = digit.is_ascii_digit().then(|| digit - b'0').ok_or(error)?;
            Ok::<_, &str>(number * 10 + i16::from(digit))
        })
    };
    let year = number(&date[..4], "invalid character in year")?;
    if date[4] != b'-' {
        return Err(SEPARATOR);
    }
    let month = number(&date[5..7], "invalid character in month")?;
    if date[7] != b'-' {
        return Err(SEPARATOR);
    }
    let day = number(&date[8..], "invalid character in day")?;
    if !(1..=12).contains(&month) {
        return Err("month value is outside expected range of 1-12");
    }
    let part = |number: i16| i8::try_from(number).unwrap_or_default();
    let date = Date::new(year, part(month), part(day))
        .map_err(|_| "day value is outside expected range")?;
    match rest {
        [] => Ok(date),
        _ => Err("unexpected extra characters at the end of the input"),
    }
}

/// Rest of a text.
struct DateTimeReader<'a>(&'a [u8]);

impl DateTimeReader<'_> {
    fn read(mut self) -> Option<String> {
        let (date, rest) = self.0.split_at_checked(10)?;
        let date = parse_date(date).ok().filter(|date| date.year() > 0)?;
        self.0 = rest;
        self.take(b"Tt _")?;
        let hour = self.number(24)?;
        self.take(b":")?;
        let minute = self.number(60)?;
        let mut text = format!("{date}T{hour:02}:{minute:02}:");
        if self.take(b":").is_some() {
            let second = self.number(60)?;
            let _infallible = write!(text, "{second:02}");
            if self.take(b".,").is_some() {
                text.push_str(&self.fraction()?);
            }
        } else {
            text.push_str("00");
        }
        text.push_str(&self.offset()?);
        self.0.is_empty().then_some(text)
    }

    /// Returns the point and six digits, or nothing for zero.
    fn fraction(&mut self) -> Option<String> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit());
        let (digits, rest) = self.0.split_at_checked(digits.count())?;
        self.0 = rest;
        let digits: String = digits.iter().map(|digit| char::from(*digit)).collect();
        let kept = format!("{digits:0<6.6}");
        match (digits.is_empty(), kept.as_str()) {
            (true, _) => None,
            (_, "000000") => Some(String::new()),
            _ => Some(format!(".{kept}")),
        }
    }

    fn offset(&mut self) -> Option<String> {
        let sign = match self.take(b"Zz+-") {
            None => return Some(String::new()),
            Some(b'Z' | b'z') => return Some("+00:00".to_owned()),
            Some(sign) => char::from(sign),
        };
        let hours = self.number(24)?;
        let _optional = self.take(b":");
        let minutes = self.number(60)?;
        let sign = if hours + minutes == 0 { '+' } else { sign };
        Some(format!("{sign}{hours:02}:{minutes:02}"))
    }

    fn take(&mut self, any_of: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        any_of.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// Reads a number of two digits that is less than `end`.
    fn number(&mut self, end: u8) -> Option<u8> {
        let (digits, rest) = self.0.split_at_checked(2)?;
        self.0 = rest;
        let number = std::str::from_utf8(digits).ok()?.parse().ok();
        let is_number = digits.iter().all(u8::is_ascii_digit);
        number.filter(|number| is_number && *number < end)
    }
}
