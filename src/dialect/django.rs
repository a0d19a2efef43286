//! The chat of the original, a Django project with Channels and REST framework.

pub mod events;
pub mod serializers;
