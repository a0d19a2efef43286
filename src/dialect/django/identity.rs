//! The proofs by which callers are known to Django: a session ([`session`]), a token of REST
//! framework's ([`token`]).

pub mod session;
pub mod token;

use self::{session::Sessions, token::Tokens};
use crate::{
    app::App,
    auth::{SetupError, proof::Proof, remembered::Found},
    config::{Config, Identity},
    limits::Meter,
};

/// Opens what `auth.identity` names, if it is one of Django's.
///
/// # Errors
/// When a setting that it needs is not there.
pub fn open(config: &Config) -> Result<Option<Box<dyn Proof>>, SetupError> {
    Ok(match config.auth.identity {
        Identity::DjangoSession => Some(Box::new(Sessions::open(config)?)),
        Identity::DjangoToken => Some(Box::new(Tokens::open(config))),
        Identity::None | Identity::Jwt => None,
    })
}

/// Returns false if Django has no session of this cookie. True also if that cannot be found out: a
/// store that is away must not cost anybody a session.
pub async fn has_session(app: &App, cookie: &str, meter: &Meter) -> bool {
    let proof = app.auth.proof();
    match proof.filter(|_| app.config.auth.identity == Identity::DjangoSession) {
        Some(sessions) => sessions.find(&*app.store, cookie, meter).await != Ok(Found::Nothing),
        None => !matches!(app.store.session(cookie.to_owned()).await, Ok(None)),
    }
}
