//! Reading datetimes in the forms that Django's `parse_datetime` takes.

use super::{DAY_S, MICROS, Timestamp, date_of_day, day_of_date};

/// Rest of a datetime text.
pub(super) struct DateReader<'a>(&'a [u8]);

impl<'a> DateReader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        DateReader(text.as_bytes())
    }

    /// Returns the whole text; see [`super::from_sqlite`].
    pub(super) fn datetime(mut self) -> Option<Timestamp> {
        let day = self.date()?;
        let (mut micros, mut offset_s) = (0, 0);
        if self.take(b"T ").is_some() {
            micros = self.time()?;
            while self.take(b" \t\n\r\x0b\x0c").is_some() {}
            offset_s = self.offset()?;
        }
        let seconds = day * DAY_S - offset_s;
        self.0
            .is_empty()
            .then_some(Timestamp(seconds * MICROS + micros))
    }

    fn date(&mut self) -> Option<i64> {
        let year = self.number(4, 4)?;
        self.take(b"-")?;
        let month = self.number(1, 2)?;
        self.take(b"-")?;
        let date = (year, month, self.number(1, 2)?);
        let day = day_of_date(date.0, date.1, date.2);
        // Anything but a date of the calendar comes back as another.
        (year > 0 && date_of_day(day) == date).then_some(day)
    }

    /// Microseconds since midnight.
    fn time(&mut self) -> Option<i64> {
        let hour = self.number(1, 2).filter(|&h| h < 24)?;
        let minute = match self.take(b":") {
            Some(_) => self.number(1, 2).filter(|&m| m < 60)?,
            None => 0,
        };
        let second = match self.take(b":") {
            Some(_) => self.number(1, 2).filter(|&s| s < 60)?,
            None => 0,
        };
        let fraction = match self.take(b".,") {
            Some(_) => self.fraction()?,
            None => 0,
        };
        Some(((hour * 60 + minute) * 60 + second) * MICROS + fraction)
    }

    /// Microseconds; there may be no digits, and those past the sixth are dropped.
    fn fraction(&mut self) -> Option<i64> {
        let digits = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        let kept = digits.min(6);
        let micros = self.number(0, kept)?;
        self.0 = self.0.get(digits - kept..)?;
        (kept..6).try_fold(micros, |micros, _| Some(micros * 10))
    }

    /// Seconds east of Greenwich: `Z`, `+09`, `+0900`, `+09:00`, `+08:27:52`, or nothing.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.take(b"Z+-") {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return Some(0),
        };
        let mut seconds = self.number(2, 2)? * 3600;
        for unit in [60, 1] {
            let separated = self.take(b":").is_some();
            if separated || !self.0.is_empty() {
                seconds += self.number(2, 2)? * unit;
            }
        }
        (seconds < DAY_S).then_some(sign * seconds)
    }

    fn take(&mut self, any_of: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        any_of.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// Reads a number of `min` to `max` digits, as many as there are.
    fn number(&mut self, min: usize, max: usize) -> Option<i64> {
        let digits = self
            .0
            .iter()
            .take(max)
            .take_while(|b| b.is_ascii_digit())
            .count();
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        let value = number
            .iter()
            .fold(0, |value, b| value * 10 + i64::from(b - b'0'));
        (digits >= min).then_some(value)
    }
}
