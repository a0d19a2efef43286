//! Times as parameters and columns.

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::python::datetime::Timestamp;

/// A `timestamp with time zone`: on the wire, microseconds since 2000.
#[derive(Debug)]
pub struct Time(pub Timestamp);

impl Time {
    /// 2000-01-01 in microseconds since the Unix epoch.
    const EPOCH: i64 = 946_684_800_000_000;

    /// `-infinity`, before every time.
    pub const FIRST: Time = Time(Timestamp::from_micros(i64::MIN));

    /// `infinity`, after every time.
    pub const LAST: Time = Time(Timestamp::from_micros(i64::MAX));
}

type Boxed = Box<dyn std::error::Error + Sync + Send>;

impl<'a> FromSql<'a> for Time {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Boxed> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        let micros = match micros {
            i64::MIN => i64::MIN,
            micros => micros.saturating_add(Self::EPOCH),
        };
        Ok(Time(Timestamp::from_micros(micros)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

impl ToSql for Time {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Boxed> {
        let micros = match self.0.micros() {
            i64::MAX => i64::MAX,
            micros => micros.saturating_sub(Self::EPOCH),
        };
        out.extend_from_slice(&micros.to_be_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_keeps_its_microseconds_both_ways() {
        // Epochs, a Django time, one before either epoch, and the infinities.
        for micros in [
            i64::MIN,
            i64::MAX,
            0,
            Time::EPOCH,
            1_795_000_000_123_457,
            -62_135_596_800_000_000,
        ] {
            let mut raw = BytesMut::new();
            let time = Time(Timestamp::from_micros(micros));
            time.to_sql(&Type::TIMESTAMPTZ, &mut raw).unwrap();
            let Time(read) = Time::from_sql(&Type::TIMESTAMPTZ, &raw).unwrap();
            assert_eq!(read.micros(), micros);
        }
    }

    #[test]
    fn a_time_of_the_wrong_size_is_an_error() {
        assert!(Time::from_sql(&Type::TIMESTAMPTZ, &[0; 7]).is_err());
    }
}
