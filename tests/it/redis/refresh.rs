//! Refresh tokens that are kept in Redis.

use std::time::Duration;

use chatferry::{
    accounts::refresh::RefreshTokens, config::Config, layer::redis::single::SingleHost,
};
use futures_util::future::join_all;

use super::instance::Redis;
use crate::support::server::load;

const LIFE: Duration = Duration::from_secs(604_800);

fn settings(redis: &Redis) -> Config {
    load(&[("layer.hosts", &redis.url())], &[])
}

fn host(redis: &Redis) -> SingleHost {
    SingleHost::first_of(&settings(redis).layer)
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn a_refresh_token_is_the_key_that_python_knows() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let tokens = RefreshTokens::in_redis(host(&redis));
    tokens.keep("3f2a", "7", LIFE).await.unwrap();
    assert_eq!(redis.ask::<String>("GET refresh_jti:3f2a").await, "7");
    let life: u64 = redis.ask("TTL refresh_jti:3f2a").await;
    assert!((604_700..=604_800).contains(&life), "{life}");
    // One that Python made, and one that it took back.
    redis.ask::<()>("SET refresh_jti:made 8").await;
    redis.ask::<()>("DEL refresh_jti:3f2a").await;
    assert_eq!(tokens.take("made").await.unwrap().as_deref(), Some("8"));
    assert_eq!(tokens.take("3f2a").await.unwrap(), None);
}

#[tokio::test]
async fn only_one_of_many_processes_takes_a_refresh_token() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let processes: Vec<_> = (0..8)
        .map(|_| RefreshTokens::in_redis(host(&redis)))
        .collect();
    processes[0].keep("3f2a", "7", LIFE).await.unwrap();
    let taken = join_all(processes.iter().map(|tokens| tokens.take("3f2a"))).await;
    let taken: Vec<_> = taken.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(taken, ["7"]);
}

#[tokio::test]
async fn no_token_is_good_while_redis_is_away() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let tokens = RefreshTokens::in_redis(host(&redis));
    tokens.keep("3f2a", "7", LIFE).await.unwrap();
    redis.kill();
    assert!(tokens.take("3f2a").await.is_err());
    assert!(tokens.keep("other", "7", LIFE).await.is_err());
}
