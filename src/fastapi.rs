//! FastAPI's answers, for the dialects whose clients know its applications: with the texts of
//! pydantic, Starlette, uvicorn and sse-starlette of three [generations](crate::config::Generation).
//!
//! An operation is data: a [`Route`](routes::Route) with the [`Inputs`](arguments::Inputs) that it
//! asks for. A [`Door`](door::Door) leads a request there:
//!
//! 1. a preflight, a path or a method that does not exist are answered,
//! 2. the body is read; one that is no JSON is refused,
//! 3. the dialect finds out who is asking ([`bearer`]),
//! 4. path, query, headers and body are validated, and all mistakes are answered at once,
//! 5. the dialect does what is asked.
//!
//! Steps 1, 2 and 4 are the same for all operations; 3 comes before 4 as FastAPI's dependencies do.
//!
//! | | |
//! |---|---|
//! | [`door`], [`routes`] | the way of a request |
//! | [`arguments`], [`field`], [`body`] | what is asked for, and what was sent |
//! | [`invalid`], [`error`], [`reply`] | why not, and the answer |
//! | [`email`] | e-mail addresses |
//! | [`openapi`] | the document of an application |
//! | [`bearer`], [`cors`] | tokens, and other sites' pages |
//! | [`sse`], [`times`] | streams of events, and the forms of times |
//!
//! Done otherwise than by FastAPI: a float that is not finite, or a lone surrogate, in what was sent
//! is shown in a refusal, where FastAPI answers 500. A body must be in UTF-8, and forms are not
//! multipart. The members of the document have an order of their own.

pub mod arguments;
pub mod bearer;
pub mod body;
pub mod cors;
pub mod door;
pub mod email;
pub mod error;
pub mod field;
pub mod invalid;
pub mod openapi;
pub mod reply;
pub mod routes;
pub mod sse;
pub mod times;
mod validate;
