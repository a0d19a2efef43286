use super::*;

const IDLE: Duration = Duration::from_secs(3600);

/// Returns the limits of these settings, each `(key, value)`.
fn limits(flags: &[(&str, &str)]) -> Option<Arc<Limits>> {
    limits_with("none", flags)
}

/// Those of a server that knows its callers, or does not.
fn limits_with(identity: &str, flags: &[(&str, &str)]) -> Option<Arc<Limits>> {
    let flags = [&[("auth.identity", identity)], flags].concat();
    Limits::of(&Config::of(&flags), Arc::new(Metrics::new()))
}

fn at(limits: &Arc<Limits>, address: &str) -> Meter {
    Meter::new(limits, Some(address.parse().unwrap()))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn without_settings_there_is_nothing_and_nobody_is_refused() {
    assert!(limits(&[]).is_none());
    let meter = Meter::default();
    for _ in 0..1000 {
        assert_eq!(meter.allow(LimitedAction::Message), Ok(()));
        assert!(meter.open_socket().is_ok());
    }
}

#[test]
fn users_have_limits_by_default_once_they_are_known_and_addresses_have_none() {
    let limits = limits_with("jwt", &[]).unwrap();
    let (meter, now) = (at(&limits, "192.0.2.1"), Instant::now());
    for _ in 0..10_000 {
        assert_eq!(meter.allow_at(LimitedAction::Message, now), Ok(()));
    }
    meter.is_user("alice").unwrap();
    for _ in 0..200 {
        assert_eq!(meter.allow_at(LimitedAction::Message, now), Ok(()));
    }
    assert!(meter.allow_at(LimitedAction::Message, now).is_err());
    assert!(
        meter
            .allow_at(LimitedAction::Message, now + seconds(1))
            .is_ok()
    );
}

#[test]
fn as_many_as_the_rate_says_come_at_once_and_the_rest_one_by_one() {
    let limits = limits(&[("limits.address.messages", "60/min")]).unwrap();
    let meter = at(&limits, "192.0.2.1");
    let now = Instant::now();
    for _ in 0..60 {
        assert_eq!(meter.allow_at(LimitedAction::Message, now), Ok(()));
    }
    let refused = meter.allow_at(LimitedAction::Message, now).unwrap_err();
    assert_eq!(refused.seconds(), 1);
    assert_eq!(
        meter.allow_at(LimitedAction::Message, now + seconds(1)),
        Ok(())
    );
    assert!(
        meter
            .allow_at(LimitedAction::Message, now + seconds(1))
            .is_err()
    );
    for _ in 0..60 {
        assert_eq!(meter.allow_at(LimitedAction::Message, now + IDLE), Ok(()));
    }
    assert!(meter.allow_at(LimitedAction::Message, now + IDLE).is_err());
}

#[test]
fn the_time_to_wait_is_the_time_after_which_it_works() {
    let limits = limits(&[("limits.address.conversations", "2/hour")]).unwrap();
    let meter = at(&limits, "192.0.2.1");
    let now = Instant::now();
    let make = |after| meter.allow_at(LimitedAction::Conversation, now + after);
    assert_eq!((make(seconds(0)), make(seconds(10))), (Ok(()), Ok(())));
    let wait = make(seconds(20)).unwrap_err().seconds();
    assert_eq!(wait, 1780, "half an hour for each, of which 20 s have gone");
    assert!(make(seconds(20 + wait - 1)).is_err());
    assert_eq!(make(seconds(20 + wait)), Ok(()));
}

#[test]
fn one_action_does_not_use_up_another_and_one_client_not_what_another_has() {
    let flags = [
        ("limits.address.messages", "1/min"),
        ("limits.address.typing", "1/min"),
    ];
    let limits = limits(&flags).unwrap();
    let (one, other) = (at(&limits, "192.0.2.1"), at(&limits, "192.0.2.2"));
    assert_eq!(one.allow(LimitedAction::Message), Ok(()));
    assert!(one.allow(LimitedAction::Message).is_err());
    assert_eq!(one.allow(LimitedAction::Typing), Ok(()));
    assert_eq!(other.allow(LimitedAction::Message), Ok(()));
    assert_eq!(
        one.allow(LimitedAction::Conversation),
        Ok(()),
        "not limited"
    );
}

#[test]
fn a_64_network_is_one_client_and_so_is_an_address_in_either_family() {
    let limits = limits(&[("limits.address.requests", "1/min")]).unwrap();
    let ask = |address: &str| at(&limits, address).allow(LimitedAction::Request).is_ok();
    assert!(ask("2001:db8:0:1::1"));
    assert!(!ask("2001:db8:0:1:ffff::2"));
    assert!(ask("2001:db8:0:2::1"));
    assert!(ask("192.0.2.1"));
    assert!(!ask("::ffff:192.0.2.1"));
}

#[test]
fn a_user_is_limited_wherever_he_comes_from() {
    let flags = [
        ("limits.user.messages", "1/min"),
        ("limits.user.requests", "3/min"),
    ];
    let limits = limits_with("jwt", &flags).unwrap();
    let user = |address: &str, id: &str| {
        let meter = at(&limits, address);
        meter.is_user(id).map(|()| meter)
    };
    let said = |meter: &Meter| meter.allow(LimitedAction::Message).is_ok();
    assert!(said(&user("192.0.2.1", "alice").unwrap()));
    assert!(!said(&user("192.0.2.2", "alice").unwrap()));
    assert!(said(&user("192.0.2.1", "bob").unwrap()));
    assert!(said(&at(&limits, "192.0.2.1")), "nobody in particular");
    assert!(user("192.0.2.3", "alice").is_ok(), "the third request");
    assert!(user("192.0.2.3", "alice").is_err());
}

#[test]
fn a_socket_counts_until_it_ends() {
    let limits = limits(&[("limits.address.open_sockets", "2")]).unwrap();
    let meter = at(&limits, "192.0.2.1");
    let (first, second) = (meter.open_socket(), meter.open_socket());
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(meter.open_socket().err().unwrap().seconds(), 10);
    assert!(at(&limits, "192.0.2.2").open_socket().is_ok());
    drop(first);
    let third = meter.open_socket();
    assert!(third.is_ok() && meter.open_socket().is_err());
}

#[test]
fn a_socket_that_the_user_may_not_open_does_not_count_for_the_address() {
    let flags = [
        ("limits.address.open_sockets", "2"),
        ("limits.user.open_sockets", "1"),
    ];
    let limits = limits_with("jwt", &flags).unwrap();
    let alice = || {
        let mut seat = at(&limits, "192.0.2.1").open_socket()?;
        seat.is_user("alice").map(|()| seat)
    };
    let first = alice();
    assert!(first.is_ok() && alice().is_err());
    assert!(at(&limits, "192.0.2.1").open_socket().is_ok());
}

#[test]
fn memory_is_bounded_and_whoever_keeps_asking_is_not_forgotten() {
    let rate = Rate::try_from("1/hour".to_owned()).unwrap();
    let now = Instant::now();
    let mut buckets = Buckets::new(100, now);
    let hostile = (ClientKey::V4(0), LimitedAction::Request);
    assert!(buckets.take(hostile, rate, now).is_ok());
    for n in 1..10_000 {
        assert!(
            buckets
                .take((ClientKey::V4(n), LimitedAction::Request), rate, now)
                .is_ok()
        );
        if n % 40 == 0 {
            assert!(
                buckets.take(hostile, rate, now).is_err(),
                "after {n} others"
            );
        }
        assert!(buckets.len() <= 100);
    }
    let first = (ClientKey::V4(1), LimitedAction::Request);
    assert!(buckets.take(first, rate, now).is_ok(), "long forgotten");
}

#[test]
fn a_clock_that_goes_backwards_does_no_harm() {
    let rate = Rate::try_from("1/s".to_owned()).unwrap();
    let before = Instant::now();
    let began = before + seconds(1);
    let mut buckets = Buckets::new(100, began);
    let name = (ClientKey::V4(0), LimitedAction::Request);
    assert!(buckets.take(name, rate, began + seconds(9)).is_ok());
    assert!(buckets.take(name, rate, before).is_err());
    assert!(buckets.take(name, rate, began + seconds(10)).is_ok());
}

#[test]
fn rows_past_the_limit_are_owed_and_nothing_is_read_until_they_are_made_up_for() {
    let limits = limits(&[("limits.address.rows", "600/day")]).unwrap();
    let (meter, other) = (at(&limits, "192.0.2.1"), at(&limits, "192.0.2.2"));
    meter.charge_rows(600);
    assert_eq!(meter.allow_rows(), Ok(()), "as many as come at once");
    meter.charge_rows(300);
    let refused = meter.allow_rows().unwrap_err();
    assert!((43_190..=43_200).contains(&refused.seconds()));
    assert_eq!(other.allow_rows(), Ok(()));
    assert_eq!(
        meter.allow(LimitedAction::Message),
        Ok(()),
        "writing is free"
    );
}

#[test]
fn the_answers_of_a_client_share_what_the_setting_gives() {
    let limits = limits(&[("limits.address.answer_memory_mib", "1")]).unwrap();
    assert_eq!(at(&limits, "192.0.2.1").answer_pools().len(), 1);
    let limits = limits_with("jwt", &[]).unwrap();
    let meter = at(&limits, "192.0.2.1");
    assert!(meter.answer_pools().is_empty(), "addresses have no bound");
    meter.is_user("alice").unwrap();
    assert_eq!(meter.answer_pools().len(), 1);
    assert!(Meter::default().answer_pools().is_empty());
}
